// A load of exchanges, each on a connection of its own: connect, ask, take the whole answer, close.
import net from 'node:net'
import type { Address } from '../../src/address.ts'

export interface Exchange {
  /** Our own address, as the access log calls it. */
  readonly downstream: string
  readonly startedAt: number
  readonly endedAt: number
  /** Which app gave the whole answer. */
  readonly from?: string
  /** What was wrong where there was no whole answer. */
  readonly failure?: string
}

// More than a TLS record, so that an answer can be cut within.
const answerBytes = 20_000

export function answerTo(question: string, name: string): string {
  return `${question} ${name} `.padEnd(answerBytes - 1, '.').concat('\n')
}

export class ExchangeLoad {
  readonly done: Exchange[] = []
  readonly #address: Address
  readonly #greeting: string | undefined
  readonly #workers: Promise<void>[]
  #stopping = false
  #asked = 0

  constructor(options: {
    readonly address: Address
    readonly greeting: string | undefined
    readonly workers: number
  }) {
    this.#address = options.address
    this.#greeting = options.greeting
    this.#workers = Array.from({ length: options.workers }, () => this.#work())
  }

  /** How many exchanges this app has answered, from the `from`th exchange on. */
  answersOf(name: string, from = 0): number {
    return this.done.slice(from).filter(exchange => exchange.from === name).length
  }

  /** Ends once the exchanges under way have. */
  async stop(): Promise<void> {
    this.#stopping = true
    await Promise.all(this.#workers)
  }

  async #work(): Promise<void> {
    while (!this.#stopping) this.done.push(await this.#exchange(`question ${this.#asked++}`))
  }

  #exchange(question: string): Promise<Exchange> {
    const greeting = this.#greeting
    const startedAt = Date.now()
    const socket = net.connect({ ...this.#address, noDelay: true })
    let downstream = 'not connected'
    let received = ''
    let from: string | undefined
    let failure = 'closed'
    const ask = () => socket.write(`${question}\n`)
    socket.setEncoding('latin1')
    socket.once('connect', () => {
      downstream = `${socket.localAddress}:${socket.localPort}`
      if (greeting === undefined) ask()
    })
    socket.on('data', (text: string) => {
      const before = received
      received += text
      if (greeting !== undefined && before === '' && received === `${greeting}\n`) ask()
      const answer = greeting === undefined ? received : received.slice(greeting.length + 1)
      const name = answer.slice(question.length + 1).split(' ', 1)[0] ?? ''
      if (answer !== answerTo(question, name)) return
      from = name
      socket.end()
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      failure = error.code ?? error.message
    })
    return new Promise(resolve => {
      socket.once('close', () => {
        const times = { downstream, startedAt, endedAt: Date.now() }
        // Behind the whole answer nothing can fail any more.
        if (from !== undefined) return resolve({ ...times, from })
        resolve({ ...times, failure: `${failure} after ${received.length} bytes` })
      })
    })
  }
}
