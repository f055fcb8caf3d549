// The process of two sidecars, from outside.
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { FromSidecars, ToSidecars } from './sidecars.ts'

/** With the heap that the command has (bin/sidesplice.cjs). */
export function forkSidecars(): ChildProcess {
  return fork(fileURLToPath(new URL('sidecars.ts', import.meta.url)), {
    execArgv: ['--disable-warning=ExperimentalWarning', '--expose-gc', '--semi-space-growth-factor=1'],
  })
}

export function ask<T extends FromSidecars['type']>(
  child: ChildProcess,
  message: ToSidecars,
  answer: T,
): Promise<Extract<FromSidecars, { type: T }>> {
  return new Promise(resolve => {
    const take = (given: FromSidecars) => {
      if (given.type !== answer) return
      child.off('message', take)
      resolve(given as Extract<FromSidecars, { type: T }>)
    }
    child.on('message', take)
    child.send(message)
  })
}
