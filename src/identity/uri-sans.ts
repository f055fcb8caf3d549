// The URI entries of a certificate's subjectAltName, read from the text form that Node gives.
import type { X509Certificate } from 'node:crypto'

/**
 * Every URI SAN of the certificate, in order, as written in it.
 *
 * Node prints the extension as `URI:a, DNS:b`; a value that could be mistaken for the punctuation around it is printed as a
 * JSON string (https://nodejs.org/api/crypto.html#x509subjectaltname), so a comma inside a value never splits it.
 */
export function uriSans(certificate: X509Certificate): readonly string[] {
  const text = certificate.subjectAltName
  if (text === undefined) return []
  const found: string[] = []
  let at = 0
  while (at < text.length) {
    const colon = text.indexOf(':', at)
    if (colon < 0) break
    const kind = text.slice(at, colon)
    const { value, end } = readValue(text, colon + 1)
    if (kind === 'URI') found.push(value)
    at = end + 2
  }
  return found
}

function readValue(text: string, from: number): { value: string; end: number } {
  if (text[from] === '"') {
    let end = from + 1
    while (end < text.length && text[end] !== '"') end += text[end] === '\\' ? 2 : 1
    return { value: JSON.parse(text.slice(from, end + 1)) as string, end: end + 1 }
  }
  const comma = text.indexOf(', ', from)
  const end = comma < 0 ? text.length : comma
  return { value: text.slice(from, end), end }
}
