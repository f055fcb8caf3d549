// The desired state from a configuration file and the certificates that it names, and from every change of them.
import { Reload, type ReloadOptions } from './reload.ts'
import type { StateSource } from './source.ts'

export function fileSource(options: Omit<ReloadOptions, 'onLoaded' | 'onResult'>): StateSource {
  let settings = options.loaded.config.process
  let reload: Reload | undefined
  return {
    settings: () => settings,
    missing: () => [],
    notices: () => [],
    watchAges: () => new Map(),
    noteSession: () => {},
    async start(onState, onReload) {
      reload = new Reload({
        ...options,
        onLoaded: next => {
          settings = next.config.process
          return onState(next.desired)
        },
        onResult: onReload,
      })
      await onState(options.loaded.desired)
      reload.start()
    },
    stopping: async () => {},
    close: async () => reload?.close(),
  }
}
