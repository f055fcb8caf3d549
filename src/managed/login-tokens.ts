// Tokens of logins, renewed while their proxies run: a fresh one is there before the last ends, or soon after somebody has deleted it, and
// the proxy finds it in its file at its next question. No connection knows of it.
import { SidespliceError } from '../errors.ts'
import type { Log } from '../proxy/log.ts'
import { AgentRefusal, type LoginToken } from './consul-agent.ts'
import { type Login, type ProxyTokensOptions, readBearer } from './proxy-tokens.ts'
import { TokenFiles } from './token-file.ts'

export interface LoginTokensOptions {
  readonly dataDir: string | undefined
  readonly as: ProxyTokensOptions['as']
  readonly log: Log
}

interface Held {
  readonly token: LoginToken
  /** When another one is got. */
  readonly renewAt: number
  /** When the agent is asked whether it is there still. */
  readonly lookAt: number
}

// A third of its life is left to try again in, where a login fails.
const renewShare = 2 / 3
const lookMs = 10_000
const retryMs = 5_000
// A question of the proxy that is on its way still has the token of before.
const graceMs = 5_000

export class LoginTokens {
  readonly #options: LoginTokensOptions
  readonly #files: TokenFiles
  readonly #held = new Map<string, Held>()
  /** What is being done for a proxy: two logins at once would leave a token that nobody has. */
  readonly #busy = new Map<string, Promise<void>>()
  /** When those are tried again that failed; said once until one succeeds. */
  readonly #failing = new Map<string, number>()
  /** Replaced ones, with when they are given back. */
  readonly #replaced = new Map<string, number>()

  constructor(options: LoginTokensOptions) {
    this.#options = options
    this.#files = new TokenFiles(options.dataDir)
  }

  pathOf(proxy: string): string {
    return this.#files.pathOf(proxy)
  }

  /**
   * There is a token in the proxy's file, and it is good.
   * @throws SidespliceError
   */
  ensure(proxy: string, login: Login): Promise<void> {
    const before = this.#busy.get(proxy) ?? Promise.resolve()
    const done = before.catch(() => {}).then(() => this.#ensure(proxy, login))
    this.#busy.set(proxy, done)
    return done
  }

  /** Renews those of the proxies that are wanted, and gives back those of the proxies that are neither that nor alive. */
  async tend(wanted: ReadonlyMap<string, Login>, live: ReadonlySet<string>): Promise<void> {
    for (const [proxy, login] of wanted) {
      // One that is not started yet gets its token as it is.
      if (!live.has(proxy) || (this.#failing.get(proxy) ?? 0) > Date.now()) continue
      try {
        await this.ensure(proxy, login)
        this.#failing.delete(proxy)
      } catch (error) {
        if (!(error instanceof SidespliceError)) throw error
        if (!this.#failing.has(proxy))
          this.#options.log.warn(
            { proxy, error: error.message },
            'a login for a fresh token failed; the proxy goes on with the one that it has',
          )
        this.#failing.set(proxy, Date.now() + retryMs)
      }
    }
    for (const [secret, dueAt] of this.#replaced)
      if (dueAt <= Date.now() && (await this.#giveBack(secret))) this.#replaced.delete(secret)
    for (const [path, secret] of this.#files.strangers([...wanted.keys(), ...live]))
      if (secret === '' || (await this.#giveBack(secret))) this.#files.remove(path)
    for (const proxy of this.#held.keys())
      if (!wanted.has(proxy) && !live.has(proxy)) this.#held.delete(proxy)
  }

  close(): void {
    this.#files.close()
  }

  async #ensure(proxy: string, login: Login): Promise<void> {
    const secret = this.#files.read(proxy)
    const held = await this.#look(proxy, secret)
    if (held !== undefined && held.renewAt > Date.now()) return
    const token = await this.#options.as(undefined, own =>
      own.login(login.authMethod, readBearer(login.bearerTokenFile), proxy),
    )
    this.#files.write(proxy, token.secret)
    this.#held.set(proxy, heldFrom(token, Date.now()))
    if (held !== undefined) this.#replaced.set(held.token.secret, Date.now() + graceMs)
    if (secret !== undefined)
      this.#options.log.info({ proxy, accessor: token.accessor }, 'the token of a login is a fresh one')
  }

  /** What the file holds, if that is good; known already, or found out by asking. */
  async #look(proxy: string, secret: string | undefined): Promise<Held | undefined> {
    if (secret === undefined) return undefined
    const known = this.#held.get(proxy)
    const now = Date.now()
    if (known?.token.secret === secret && known.lookAt > now) return known
    try {
      const token = await this.#options.as(secret, own => own.self())
      // Where it was got by another supervisor, its clock is the agent's.
      const held =
        known?.token.secret === secret
          ? { ...known, lookAt: now + lookMs }
          : heldFrom({ ...token, secret }, token.lifetime?.fromAt ?? now)
      this.#held.set(proxy, held)
      return held
    } catch (error) {
      if (error instanceof AgentRefusal && error.status === 403) return undefined
      throw error
    }
  }

  /** @returns whether it is gone */
  async #giveBack(secret: string): Promise<boolean> {
    try {
      await this.#options.as(secret, own => own.logout())
      return true
    } catch (error) {
      if (!(error instanceof SidespliceError)) throw error
      const gone = error instanceof AgentRefusal && error.status === 403
      if (!gone)
        this.#options.log.warn({ error: error.message }, 'a token of a login can not be given back yet')
      return gone
    }
  }
}

/** Its time is counted by our own clock from when it came: the agent's may go wrong. */
function heldFrom(token: LoginToken, fromAt: number): Held {
  const { lifetime } = token
  return {
    token,
    renewAt:
      lifetime === undefined
        ? Number.POSITIVE_INFINITY
        : fromAt + (lifetime.untilAt - lifetime.fromAt) * renewShare,
    lookAt: Date.now() + lookMs,
  }
}
