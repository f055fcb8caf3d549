// Noticing that files changed, by what stat(2) says of them: it follows symlinks, works on every file system, and sees a
// rename, a symlink swapped in a parent folder and a write in place alike.
import { stat } from 'node:fs/promises'

// Four stat calls a look; a change is taken up within two looks.
const lookEveryMs = 400

export interface Watch {
  /** The files to look at from now on. A list that differs from the last counts as a change: what happened before is unknown. */
  watch(files: readonly string[]): void
  close(): void
}

/**
 * Calls `onChange` once the files have changed and then stood still for one look, so that a certificate and its key that
 * are written one after the other are read together.
 */
export function watchFiles(onChange: () => void): Watch {
  let files: readonly string[] = []
  let settled = ''
  let seen = ''
  let closed = false
  let timer = schedule()
  return {
    watch(next) {
      if (next.join('\n') === files.join('\n')) return
      files = next
      settled = ''
    },
    close() {
      closed = true
      clearTimeout(timer)
    },
  }

  function schedule(): NodeJS.Timeout {
    return setTimeout(look, lookEveryMs)
  }

  async function look(): Promise<void> {
    const watched = files
    const now = await signature(watched)
    if (closed) return
    timer = schedule()
    if (watched !== files) return
    const still = now === seen
    seen = now
    if (still && watched.length > 0 && now !== settled) {
      settled = now
      onChange()
    }
  }
}

async function signature(files: readonly string[]): Promise<string> {
  const parts = files.map(async file => {
    try {
      const { dev, ino, size, mtimeNs, ctimeNs } = await stat(file, { bigint: true })
      return [dev, ino, size, mtimeNs, ctimeNs].join(':')
    } catch {
      return 'missing'
    }
  })
  return (await Promise.all(parts)).join(' ')
}
