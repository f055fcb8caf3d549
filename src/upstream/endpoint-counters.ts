// What is known of an endpoint's use: counted where connections are made, read where endpoints are chosen.

/** Times are of the monotonic clock, in milliseconds. */
export interface EndpointCounters {
  /** Sessions that dial it or are carried by it. */
  readonly open: number
  readonly dialing: number
  readonly attempts: number
  readonly failures: number
  /** Since it last carried a byte back, or a session to its clean end. */
  readonly consecutiveFailures: number
  /** When the first of these failures came; of no meaning where there are none. */
  readonly failingSince: number
  readonly lastFailureAt: number
}
