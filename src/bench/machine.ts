// What a figure depends on: the machine, its kernel, the libraries.
import { createCipheriv, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { availableParallelism, cpus, release, totalmem } from 'node:os'

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryGb: number
  readonly kernel: string
  readonly node: string
  readonly openssl: string
  /** Whether the running kernel offers TLS of its own (tcp_available_ulp). */
  readonly kernelTls: boolean
}

export function describeMachine(): Machine {
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    memoryGb: Math.round(totalmem() / 1e9),
    kernel: release(),
    node: process.versions.node,
    openssl: process.versions.openssl,
    kernelTls: hasKernelTls(),
  }
}

function hasKernelTls(): boolean {
  try {
    return readFileSync('/proc/sys/net/ipv4/tcp_available_ulp', 'utf8').split(/\s+/).includes('tls')
  } catch {
    return false
  }
}

export const aeads = ['aes-128-gcm', 'aes-256-gcm', 'chacha20-poly1305'] as const
export type Aead = (typeof aeads)[number]

// Large: each call makes a buffer.
const chunkBytes = 262_144
const keyBytes: Readonly<Record<Aead, number>> = {
  'aes-128-gcm': 16,
  'aes-256-gcm': 32,
  'chacha20-poly1305': 32,
}

/**
 * Gigabytes that one core encrypts in a second of its own time, with the OpenSSL inside Node, which is the data plane's. Node's calls and
 * the memory of what they return take a fifth of that: the library alone is so much faster.
 */
export function aeadSpeed(name: Aead, seconds: number): number {
  const options = { authTagLength: 16 }
  // The cast: the types have an overload for each name, none for all of them.
  const cipher = createCipheriv(name as 'aes-128-gcm', randomBytes(keyBytes[name]), randomBytes(12), options)
  const chunk = Buffer.alloc(chunkBytes)
  const end = performance.now() + seconds * 1_000
  const before = process.cpuUsage()
  let chunks = 0
  for (; performance.now() < end; chunks++) cipher.update(chunk)
  return (chunks * chunkBytes) / 1e3 / process.cpuUsage(before).user
}
