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
  const format = options.json ? (line: string) => line : textLine
  const sink = new LineSink({
    fd: nonBlocking(options.fd),
    droppedLine: lines =>
      format(
        `${JSON.stringify({ level: 'warn', time: new Date().toISOString(), lines, msg: 'log lines were dropped' })}\n`,
      ),
  })
  const logger = pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: level => ({ level }) },
    },
    { write: line => sink.write(format(line)) },
  )
  return {
    debug: (fields, message) => logger.debug(fields, message),
    info: (fields, message) => logger.info(fields, message),
    warn: (fields, message) => logger.warn(fields, message),
    error: (fields, message) => logger.error(fields, message),
    setLevel(level) {
      logger.level = level
    },
    dropped: () => sink.dropped,
    flush: limitMs => sink.flush(limitMs),
    flushSync: limitMs => sink.flushSync(limitMs),
  }
}

/** `time LEVEL message key=value …` */
export function textLine(jsonLine: string): string {
  const { level, time, msg, ...fields } = JSON.parse(jsonLine) as Record<string, unknown>
  const pairs = Object.entries(fields).map(([key, value]) => ` ${key}=${textValue(value)}`)
  // Messages name what a registration says, too.
  return `${time} ${String(level).toUpperCase().padEnd(5)} ${printable(String(msg))}${pairs.join('')}\n`
}

/** Text of whatever origin on one line, which commands no terminal. */
export function printable(text: string): string {
  return text.replace(unprintable, character => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** Quoted where a space, a quote or a control character would make it ambiguous. */
function textValue(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  const quoted = typeof value === 'string' && !/^[\x21\x23-\x7e]+$/.test(text) ? JSON.stringify(text) : text
  // JSON leaves DEL, C1 controls and what turns text around as they are; a terminal obeys them.
  return printable(quoted)
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const unprintable = /[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g
