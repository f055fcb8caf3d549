// What an alias check says: the worst of the checks of the service that it stands for, in Consul's words. Pure.
import type { CheckRow, Status } from './rows.ts'

export type Health = Pick<CheckRow, 'Name' | 'Status' | 'Output'>

export function aliasStatus(checks: readonly Health[]): { readonly Status: Status; readonly Output: string } {
  if (checks.length === 0) return { Status: 'passing', Output: 'No checks found.' }
  const failing =
    checks.find(({ Status }) => Status === 'critical') ?? checks.find(({ Status }) => Status === 'warning')
  if (failing === undefined) return { Status: 'passing', Output: 'All checks passing.' }
  return {
    Status: failing.Status,
    Output: `Aliased check "${failing.Name}" failing: ${failing.Output}`,
  }
}
