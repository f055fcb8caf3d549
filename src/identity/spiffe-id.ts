// SPIFFE IDs and the patterns that match them. Knows the URI form only, nothing of certificates.
import { SidespliceError } from '../errors.ts'

/** A workload's identity: canonical (lower-case scheme and trust domain), with at least one path segment. */
export interface SpiffeId {
  readonly trustDomain: string
  readonly segments: readonly string[]
  readonly uri: string
}

/** A SPIFFE ID in which `*` may stand for one whole path segment. */
export interface SpiffePattern {
  readonly trustDomain: string
  readonly segments: readonly string[]
}

// SPIFFE-ID specification section 2.3.
const maxIdBytes = 2048
// Section 2.1: letters, digits, dots, dashes, underscores; at most 255 bytes.
const trustDomainForm = /^[a-z0-9._-]{1,255}$/
// Section 2.2 allows letters, digits, dots, dashes and underscores; Consul also percent-encodes service names.
const segmentForm = /^(?:[A-Za-z0-9._-]|%[0-9A-Fa-f]{2})+$/

/**
 * Parses a SPIFFE ID (SPIFFE-ID specification section 2). Scheme and trust domain are taken in any case.
 * @throws SidespliceError `bad_spiffe_id`
 */
export function parseSpiffeId(text: string): SpiffeId {
  const { trustDomain, segments } = split(text)
  for (const segment of segments) requireSegment(text, segment)
  return Object.freeze({
    trustDomain,
    segments: Object.freeze(segments),
    uri: `spiffe://${trustDomain}/${segments.join('/')}`,
  })
}

/**
 * Parses a pattern: a SPIFFE ID in which a path segment may be `*`. Never a part of a segment, never the trust domain.
 * @throws SidespliceError `bad_spiffe_id`
 */
export function parseSpiffePattern(text: string): SpiffePattern {
  const { trustDomain, segments } = split(text)
  for (const segment of segments) if (segment !== '*') requireSegment(text, segment)
  return Object.freeze({ trustDomain, segments: Object.freeze(segments) })
}

export function formatPattern(pattern: SpiffePattern): string {
  return `spiffe://${pattern.trustDomain}/${pattern.segments.join('/')}`
}

/** Whether the ID has the pattern's trust domain and, segment by segment, its path. */
export function matchesPattern(pattern: SpiffePattern, id: SpiffeId): boolean {
  if (pattern.trustDomain !== id.trustDomain || pattern.segments.length !== id.segments.length) return false
  return pattern.segments.every((segment, at) => segment === '*' || segment === id.segments[at])
}

/**
 * The server name that Consul's mesh gateways route by (`<service>.<namespace>.<datacenter>.internal.<trust domain>`),
 * or undefined where the ID is not of Consul's form.
 */
export function consulServerName(id: SpiffeId): string | undefined {
  const [ns, namespace, dc, datacenter, svc, service, ...rest] = id.segments
  if (ns !== 'ns' || dc !== 'dc' || svc !== 'svc' || rest.length > 0 || service === undefined)
    return undefined
  if (service.includes('%') || service.includes('.')) return undefined
  return `${service}.${namespace}.${datacenter}.internal.${id.trustDomain}`
}

function split(text: string): { trustDomain: string; segments: string[] } {
  if (Buffer.byteLength(text) > maxIdBytes) throw bad(text.slice(0, 64), `at most ${maxIdBytes} bytes`)
  const parts = /^spiffe:\/\/([^/]*)\/(.+)$/i.exec(text)
  const trustDomain = parts?.[1]?.toLowerCase()
  const path = parts?.[2]
  if (trustDomain === undefined || path === undefined) throw bad(text, 'spiffe://<trust domain>/<path>')
  if (!trustDomainForm.test(trustDomain))
    throw bad(text, 'a trust domain of letters, digits, ".", "-" and "_"')
  return { trustDomain, segments: path.split('/') }
}

function requireSegment(text: string, segment: string): void {
  if (segment.includes('*')) throw bad(text, '"*" only as a whole path segment of a pattern')
  if (segment === '.' || segment === '..' || !segmentForm.test(segment)) {
    throw bad(text, 'path segments of letters, digits, ".", "-", "_" and percent-encoded bytes, none empty')
  }
}

function bad(text: string, expected: string): SidespliceError {
  return new SidespliceError(`got SPIFFE ID ${JSON.stringify(text)}, expected ${expected}`, {
    source: 'identity',
    code: 'bad_spiffe_id',
  })
}
