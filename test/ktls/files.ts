// Which of the conformance suite's files run on kernel TLS, inside another kernel, and why the rest does not. A unit test holds both
// lists against the folder.

/** What moves bytes after the handshake, and how that ends. */
export const onKernelTls = [
  'abort',
  'back-pressure',
  'bulk',
  'first-word',
  'half-close',
  'hostile-records',
  'openssl-records',
  'resumption',
  'server-first',
  'stall',
  'terminate',
  'timeouts',
  'tls-versions',
  'truncation',
  'unix-sockets',
] as const

const beforeRelay = 'it is over before a relay begins'

export const notOnKernelTls: Readonly<Record<string, string>> = {
  'buffer-memory': 'it holds readers and peers by the thousand',
  'certificates-inbound': beforeRelay,
  'certificates-outbound': beforeRelay,
  connect: beforeRelay,
  counters: 'counting is the same for every relay',
  descriptors: 'it is about accepting',
  drain: 'who is cut and when is the same for every relay',
  exits: 'it is about the process',
  generations: beforeRelay,
  'handshake-silence': beforeRelay,
  'hostile-peers': 'it measures CPU time, and peers by the thousand',
  identity: beforeRelay,
  'key-exchange': beforeRelay,
  listeners: beforeRelay,
  'many-sessions': 'a thousand at once are too many for one CPU in there',
  'policy-answers': beforeRelay,
  soak: 'it needs two CPUs',
  'stalled-bytes': 'it asks for a rate, and everything shares one CPU in there',
}
