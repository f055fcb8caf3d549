// The process's log: pino's records, as JSON or as text lines with the same fields, into a sink that never blocks.
import { pino } from 'pino'
import type { LogLevel } from '../config/config.ts'
import type { Log } from '../proxy/log.ts'
import { LineSink } from './line-sink.ts'
import { nonBlocking } from './non-blocking.ts'

export interface ProcessLog extends Log {
  setLevel(level: LogLevel): void
  dropped(): number
  /** Resolves when every line is out, or after `limitMs`. */
  flush(limitMs: number): Promise<void>
  flushSync(limitMs: number): void
}

export function createLog(options: {
  readonly level: LogLevel
  readonly json: boolean
  readonly fd: number
}): ProcessLog {
  const logger = pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: level => ({ level }) },
    },
    { write: line => sink.write(line) },
  )
  // Text is written as it is, not as JSON that is read again: a busy sidecar spends as much on its lines as on its policy.
  const text: typeof put = (level, fields, message) => {
    if (logger.isLevelEnabled(level)) sink.write(textLine({ time: now(), level, message, fields }))
  }
  const put = (level: keyof Log, fields: object, message: string) => logger[level](fields, message)
  const write = options.json ? put : text
  const sink = new LineSink({
    fd: nonBlocking(options.fd),
    droppedLine: lines => {
      const message = 'log lines were dropped'
      if (!options.json) return textLine({ time: now(), level: 'warn', message, fields: { lines } })
      return `${JSON.stringify({ level: 'warn', time: now(), lines, msg: message })}\n`
    },
  })
  return {
    debug: (fields, message) => write('debug', fields, message),
    info: (fields, message) => write('info', fields, message),
    warn: (fields, message) => write('warn', fields, message),
    error: (fields, message) => write('error', fields, message),
    setLevel(level) {
      logger.level = level
    },
    dropped: () => sink.dropped,
    flush: limitMs => sink.flush(limitMs),
    flushSync: limitMs => sink.flushSync(limitMs),
  }
}

export interface LogLine {
  readonly time: string
  readonly level: string
  readonly message: string
  readonly fields: object
}

/** `time LEVEL message key=value …`: of the fields what JSON has of them. */
export function textLine({ time, level, message, fields }: LogLine): string {
  let pairs = ''
  for (const [key, value] of Object.entries(fields)) {
    const text = textValue(value)
    if (text !== undefined) pairs += ` ${key}=${text}`
  }
  // Messages name what a registration says, too.
  return `${time} ${level.toUpperCase().padEnd(5)} ${printable(message)}${pairs}\n`
}

function now(): string {
  return new Date().toISOString()
}

/** Text of whatever origin on one line, which commands no terminal. */
export function printable(text: string): string {
  return text.replace(unprintable, character => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** Quoted where a space, a quote or a control character would make it ambiguous; nothing where JSON has no word for it. */
function textValue(value: unknown): string | undefined {
  if (typeof value === 'string' && plain.test(value)) return value
  const text = jsonOf(value)
  // JSON leaves DEL, C1 controls and what turns text around as they are; a terminal obeys them.
  return text === undefined ? undefined : printable(text)
}

/** A value that JSON can't hold must not cost the line. */
function jsonOf(value: unknown): string | undefined {
  try {
    return JSON.stringify(value)
  } catch {
    return JSON.stringify(String(value))
  }
}

const plain = /^[\x21\x23-\x7e]+$/

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const unprintable = /[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g
