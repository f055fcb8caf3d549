// The file of a unix socket that listens: a stale one is cleared away, and nothing else ever is; ours goes when it closes.
import { randomBytes } from 'node:crypto'
import { chmod, link, lstat, rename, rm } from 'node:fs/promises'
import net from 'node:net'
import { dirname, join } from 'node:path'
import { errorCode } from '../errors.ts'
import type { ListeningSocket } from './listening-sockets.ts'

/** Who may connect acts as this service: unless said otherwise, nobody but our own user. */
export const defaultSocketMode = 0o600

export interface SocketFile {
  /** Gives it another mode; that it can't is no reason to stop listening. */
  setMode(mode: number): Promise<void>
  /** Removes it, unless another has taken its place since. */
  remove(): Promise<void>
}

/**
 * Has a socket listen at a path, once a socket that nobody listens on is out of the way. It is bound at another name beside it and linked to its
 * own when it has its mode: so that nobody gets in before, and a file that another put there meanwhile is not replaced.
 * @throws an error with the code that bind(2) would give: `EADDRINUSE` where somebody listens there, `EEXIST` where it is no socket
 */
export async function listenAtPath(
  { path, mode }: { readonly path: string; readonly mode: number },
  bind: (at: string) => Promise<void>,
): Promise<SocketFile> {
  await clear(path)
  const at = nameBeside(path)
  await bind(at)
  try {
    await chmod(at, mode)
    const ours = await lstat(at)
    await link(at, path)
    return {
      setMode: next => chmod(path, next).catch(() => {}),
      remove: async () => {
        const now = await lstat(path).catch(() => undefined)
        if (now?.ino === ours.ino && now.dev === ours.dev) await rm(path, { force: true })
      },
    }
  } catch (error) {
    throw errorCode(error) === 'EEXIST' ? refusal('EADDRINUSE', `${path} is another's`) : error
  } finally {
    await rm(at, { force: true })
  }
}

/** A listening socket whose file goes with it, before it closes: then nobody finds one that refuses. */
export function withFile(socket: ListeningSocket, file: SocketFile): ListeningSocket {
  return {
    port: 0,
    change: spec => {
      socket.change(spec)
      void file.setMode(spec.socketMode ?? defaultSocketMode)
    },
    close: async () => {
      await file.remove()
      await socket.close()
    },
    takeQueuedAndClose: async () => {
      await file.remove()
      await socket.takeQueuedAndClose()
    },
  }
}

async function clear(path: string): Promise<void> {
  const found = await lstat(path).catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT') return undefined
    throw error
  })
  if (found === undefined) {
    // libuv has another word for a folder that is not there.
    await lstat(dirname(path))
    return
  }
  if (!found.isSocket()) throw refusal('EEXIST', `${path} is there and no socket`)
  if (await isListenedOn(path)) throw refusal('EADDRINUSE', `${path} is another's`)
  // Between the look and the removal another may have bound it: what was moved aside is looked at again.
  const aside = nameBeside(path)
  await rename(path, aside)
  if (!(await isListenedOn(aside))) return rm(aside)
  await rename(aside, path)
  throw refusal('EADDRINUSE', `${path} is another's`)
}

/** Short: a socket's path has 107 bytes at most (unix(7)). */
function nameBeside(path: string): string {
  return join(dirname(path), `.${randomBytes(4).toString('hex')}`)
}

/** A socket file whose process is gone refuses (unix(7)); a full backlog, or any other answer, is somebody's. */
function isListenedOn(path: string): Promise<boolean> {
  return new Promise(resolve => {
    const probe = net.connect(path)
    const done = (listenedOn: boolean) => {
      probe.destroy()
      resolve(listenedOn)
    }
    probe.once('connect', () => done(true))
    probe.once('error', error => done(!['ECONNREFUSED', 'ENOENT'].includes(errorCode(error))))
  })
}

function refusal(code: string, message: string): Error {
  return Object.assign(new Error(message), { code })
}
