// What a child with live sessions is asked for.
export interface Order {
  readonly plane: string
  /** By process.exit, by an exception, ours or of the policy, in a thread that is terminated or ends itself, or once all is closed. */
  readonly way:
    | 'exit'
    | 'throw'
    | 'policy throws'
    | 'terminate'
    | 'thread ends'
    | 'close'
    | 'use what is closed'
  /** Moving bytes, or in the middle of their handshakes. */
  readonly sessions: 'relaying' | 'handshaking'
}

export const exitCode = 42
