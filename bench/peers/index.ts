// Every chain that can be measured, in the order in which results are shown.
import type { Peer } from '../peer.ts'
import { consul } from './consul.ts'
import { envoy } from './envoy.ts'
import { ghostunnel } from './ghostunnel.ts'
import { haproxy, haproxySplice } from './haproxy.ts'
import { nginx } from './nginx.ts'
import { direct, floor } from './references.ts'
import { javascript, native, resumed } from './sidesplice.ts'

export const peers: readonly Peer[] = [
  native,
  javascript,
  resumed,
  nginx,
  haproxy,
  consul,
  ghostunnel,
  envoy,
  haproxySplice,
  floor,
  direct,
]
