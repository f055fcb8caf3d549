// A public listener in a process of few file descriptors; speaks with its parent over the IPC channel.
import type { Address } from '../../src/address.ts'
import type { DataPlaneIdentity, SessionRecord } from '../../src/data-plane/interface.ts'
import { dataPlaneNamed } from './data-planes.ts'
import { limits } from './sidecar.ts'

export interface ToChild {
  readonly plane: string
  readonly target: Address
  readonly chainPem: string
  readonly keyPem: string
  readonly rootsPem: string
}
export type FromChild =
  | { readonly type: 'listening'; readonly address: Address }
  | { readonly type: 'ended'; readonly reasons: readonly SessionRecord['reason'][] }

const tell = (message: FromChild) => process.send?.(message)

process.once('message', async (message: ToChild) => {
  const { target } = message
  const plane = dataPlaneNamed(message.plane).open({
    policy: {
      admit: (questions, answer) =>
        answer(
          questions.map(({ session }) => ({
            session,
            generation: 1,
            admitted: true,
            peer: '',
            target,
            connectTimeoutMs: 5_000,
          })),
        ),
      route: () => {},
      ended: records => tell({ type: 'ended', reasons: records.map(({ reason }) => reason) }),
    },
  })
  const identity: DataPlaneIdentity = {
    generation: 1,
    chainPem: message.chainPem,
    privateKey: Buffer.from(message.keyPem),
    rootsPem: message.rootsPem,
  }
  plane.setIdentity(identity)
  const [report] = await plane.setListeners({
    generation: 1,
    listeners: [
      {
        key: 'public',
        name: 'public',
        direction: 'inbound',
        bind: { host: '127.0.0.1', port: 0 },
        ...limits,
        handshakeTimeoutMs: 10_000,
      },
    ],
  })
  if (report === undefined) throw new Error('no listener')
  tell({ type: 'listening', address: report.bind })
})
