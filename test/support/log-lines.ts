// A line of the log, read back: text and JSON into the same shape.
import assert from 'node:assert/strict'

export interface LogLine {
  readonly time: string
  readonly level: string
  readonly message: string
  /** In the order of the line. Numbers of a text line are numbers, too. */
  readonly fields: Readonly<Record<string, unknown>>
}

export function parseLogLine(line: string): LogLine {
  return line.startsWith('{') ? parseJsonLine(line) : parseTextLine(line)
}

function parseJsonLine(line: string): LogLine {
  const { time, level, msg, ...fields } = JSON.parse(line) as Record<string, unknown>
  return { time: String(time), level: String(level), message: String(msg), fields }
}

const quoted = '"(?:[^"\\\\]|\\\\.)*"'
const fieldForm = new RegExp(` ([a-z_]+)=(${quoted}|\\[(?:${quoted},?)*\\]|[^ "\\[][^ ]*)`, 'g')

function parseTextLine(line: string): LogLine {
  const [, time = '', level = '', rest = ''] = /^(\S+) ([A-Z]+) +(\S.*)$/.exec(line) ?? assert.fail(line)
  const found = [...rest.matchAll(fieldForm)]
  const message = rest.slice(0, found[0]?.index)
  // Nothing between the fields that is none.
  assert.equal(message + found.map(([whole]) => whole).join(''), rest)
  const fields = Object.fromEntries(found.map(([, key = '', value = '']) => [key, textValue(value)]))
  return { time, level: level.toLowerCase(), message, fields }
}

/** Addresses and versions are words, too. */
function textValue(text: string): unknown {
  return /^["[]|^-?\d+(\.\d+)?$|^(true|false)$/.test(text) ? JSON.parse(text) : text
}
