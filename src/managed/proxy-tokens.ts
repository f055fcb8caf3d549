// Tokens of proxies beside a real Consul agent: made here, or got by an auth method's login, and gone once no process has them.
import { readFileSync } from 'node:fs'
import { errorCode, SidespliceError } from '../errors.ts'
import type { Log } from '../proxy/log.ts'
import type { ConsulAgentCalls } from './consul-agent.ts'
import type { GivenToken } from './managed-process.ts'
import { findProcesses, secretOf } from './processes.ts'

export interface Login {
  readonly authMethod: string
  readonly bearerTokenFile: string
}

export interface ProxyTokensOptions {
  readonly calls: ConsulAgentCalls
  readonly owner: string
  readonly makeTokens: boolean
  /** Calls made with this token, or with none: a login with one is refused. */
  readonly as: <T>(secret: string | undefined, call: (calls: ConsulAgentCalls) => Promise<T>) => Promise<T>
  readonly log: Log
}

export interface TokenWish {
  readonly proxy: string
  readonly service: string
  readonly login: Login | undefined
}

// A token that was just made is not in the environment of a process yet.
const youngMs = 30_000

export class ProxyTokens {
  readonly #options: ProxyTokensOptions
  readonly #young = new Map<string, number>()
  /** Of logins, by their accessor: a token is given back by itself. */
  readonly #secrets = new Map<string, string>()
  #made: ReadonlySet<string> = new Set()

  constructor(options: ProxyTokensOptions) {
    this.#options = options
  }

  /** @returns undefined where a proxy is given none */
  async make({ proxy, service, login }: TokenWish): Promise<GivenToken | undefined> {
    const { calls, makeTokens } = this.#options
    if (login === undefined && !makeTokens) return undefined
    const token =
      login === undefined
        ? await calls.makeToken(service, `${this.#description()}${proxy}`)
        : await this.#options.as(undefined, own =>
            own.login(login.authMethod, readBearer(login.bearerTokenFile), proxy),
          )
    if (login !== undefined) this.#secrets.set(token.accessor, token.secret)
    this.#young.set(token.accessor, performance.now())
    return token
  }

  /** Whether a process that has it may go on: one that was deleted by somebody is of no use. */
  knows(accessor: string): boolean {
    return this.#made.has(accessor) || this.#secrets.has(accessor)
  }

  /** Looks which tokens no process has: those of proxies that ended, also while nobody looked. */
  async tend(): Promise<void> {
    const { calls, owner, makeTokens, as } = this.#options
    const made = makeTokens ? [...(await calls.tokens(this.#description())).keys()] : []
    this.#made = new Set(made)
    const live = findProcesses(owner)
    for (const { pid, leads, mark } of live) {
      if (!leads || mark.accessor === '' || this.knows(mark.accessor)) continue
      // Taken over from a supervisor before us: what it was given by a login is in its environment alone.
      const secret = secretOf(pid)
      if (secret !== undefined && !makeTokens) this.#secrets.set(mark.accessor, secret)
    }
    const used = new Set(live.map(({ mark }) => mark.accessor))
    for (const accessor of made) if (this.#isDone(accessor, used)) await calls.deleteToken(accessor)
    for (const [accessor, secret] of this.#secrets) {
      if (!this.#isDone(accessor, used)) continue
      this.#secrets.delete(accessor)
      await as(secret, own => own.logout()).catch((error: unknown) =>
        this.#options.log.warn(
          { accessor, error: String(error) },
          'a token of a login can not be given back',
        ),
      )
    }
  }

  /** From now on none is young: nobody starts a process any more. */
  settle(): void {
    this.#young.clear()
  }

  #isDone(accessor: string, used: ReadonlySet<string>): boolean {
    const madeAt = this.#young.get(accessor)
    if (used.has(accessor) || (madeAt !== undefined && performance.now() - madeAt < youngMs)) return false
    this.#young.delete(accessor)
    return true
  }

  #description(): string {
    return `sidesplice manage ${this.#options.owner}: `
  }
}

/** Read at each login: whoever gives it may have replaced it. */
export function readBearer(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (cause) {
    throw new SidespliceError(`${file}: got ${errorCode(cause)}, expected a file that can be read`, {
      source: 'cli',
      code: 'agent_file',
      cause,
    })
  }
}
