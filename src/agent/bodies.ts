// Rows as Consul 1.8 writes them in its answers. Pure.
import { createHash, X509Certificate } from 'node:crypto'
import type { Json } from '../consul/shape.ts'
import { precedenceOf } from './intention-rules.ts'
import type { Leaf } from './leaves.ts'
import type { NodeIdentity } from './node.ts'
import { nodeBody } from './node.ts'
import { object } from './proxy-block.ts'
import type { CheckRow, IntentionRow, QueryRow, Row, ServiceRow } from './rows.ts'

/** An entry of /v1/agent/services. */
export function agentServiceBody(row: ServiceRow): Json {
  return {
    ...(row.Kind !== '' && { Kind: row.Kind }),
    ID: row.ID,
    Service: row.Service,
    Tags: row.Tags,
    Meta: row.Meta,
    Port: row.Port,
    Address: row.Address,
    ...taggedAddresses(row),
    Weights: row.Weights,
    EnableTagOverride: row.EnableTagOverride,
    ...(row.Proxy !== undefined && { Proxy: row.Proxy }),
    ...(row.Native && { Connect: { Native: true } }),
  }
}

/** /v1/agent/service/:id: the same with a hash of it. */
export function agentServiceWithHash(row: ServiceRow): Json & { readonly ContentHash: string } {
  const body = agentServiceBody(row)
  return { ...body, ContentHash: contentHash(body) }
}

/** Sixteen digits, as Consul's. */
export function contentHash(body: unknown): string {
  return createHash('sha256').update(JSON.stringify(body)).digest('hex').slice(0, 16)
}

function taggedAddresses(row: ServiceRow): Json {
  if (row.TaggedAddresses !== undefined) return { TaggedAddresses: row.TaggedAddresses }
  if (!/^[0-9.]+$/.test(row.Address)) return {}
  const address = { Address: row.Address, Port: row.Port }
  return { TaggedAddresses: { lan_ipv4: address, wan_ipv4: address } }
}

/** A row of /v1/health. */
export function healthBody(row: Row<'service'>, checks: readonly Row<'check'>[], node: NodeIdentity): Json {
  return {
    Node: nodeBody(node),
    Service: {
      ...(row.Kind !== '' && { Kind: row.Kind }),
      ID: row.ID,
      Service: row.Service,
      Tags: row.Tags,
      Address: row.Address,
      ...taggedAddresses(row),
      Meta: Object.keys(row.Meta).length === 0 ? null : row.Meta,
      Port: row.Port,
      Weights: row.Weights,
      EnableTagOverride: row.EnableTagOverride,
      Proxy: row.Proxy ?? { MeshGateway: {}, Expose: {} },
      Connect: row.Native ? { Native: true } : {},
      CreateIndex: row.CreateIndex,
      ModifyIndex: row.ModifyIndex,
    },
    Checks: [serfHealth(node), ...checks.map(check => checkBody(check, node, row))],
  }
}

/** A row of /v1/catalog/service and /v1/catalog/connect. */
export function catalogBody(row: Row<'service'>, node: NodeIdentity): Json {
  const { ID, Node, Address, Datacenter, TaggedAddresses, Meta } = nodeBody(node)
  return {
    ...{ ID, Node, Address, Datacenter, TaggedAddresses, NodeMeta: Meta },
    ServiceKind: row.Kind,
    ServiceID: row.ID,
    ServiceName: row.Service,
    ServiceTags: row.Tags,
    ServiceAddress: row.Address,
    ServiceWeights: row.Weights,
    ServiceMeta: row.Meta,
    ServicePort: row.Port,
    ServiceEnableTagOverride: row.EnableTagOverride,
    ServiceProxy: row.Proxy ?? { MeshGateway: {}, Expose: {} },
    ServiceConnect: row.Native ? { Native: true } : {},
    CreateIndex: row.CreateIndex,
    ModifyIndex: row.ModifyIndex,
  }
}

export function checkBody(
  check: CheckRow & { readonly CreateIndex?: number; readonly ModifyIndex?: number },
  node: NodeIdentity,
  service: ServiceRow | undefined,
): Json {
  return {
    Node: node.name,
    CheckID: check.CheckID,
    Name: check.Name,
    Status: check.Status,
    Notes: check.Notes,
    Output: check.Output,
    ServiceID: check.ServiceID,
    ServiceName: service?.Service ?? '',
    ServiceTags: service?.Tags ?? [],
    Type: check.Type,
    Definition: {},
    CreateIndex: check.CreateIndex ?? 0,
    ModifyIndex: check.ModifyIndex ?? 0,
  }
}

/** Of one node, which answers: so it is alive. */
function serfHealth(node: NodeIdentity): Json {
  return {
    Node: node.name,
    CheckID: 'serfHealth',
    Name: 'Serf Health Status',
    Status: 'passing',
    Notes: '',
    Output: 'Agent alive and reachable',
    ServiceID: '',
    ServiceName: '',
    ServiceTags: [],
    Type: '',
    Definition: {},
    CreateIndex: node.index,
    ModifyIndex: node.index,
  }
}

export function intentionBody(row: Row<'intention'>): Json {
  return {
    ID: row.ID,
    Description: row.Description,
    SourceNS: 'default',
    SourceName: row.SourceName,
    DestinationNS: 'default',
    DestinationName: row.DestinationName,
    SourceType: 'consul',
    Action: row.Action,
    DefaultAddr: '',
    DefaultPort: 0,
    Meta: row.Meta,
    Precedence: precedenceOf(row),
    CreatedAt: row.CreatedAt,
    UpdatedAt: row.UpdatedAt,
    Hash: contentHash(row),
    CreateIndex: row.CreateIndex,
    ModifyIndex: row.ModifyIndex,
  }
}

export function describeIntention(row: IntentionRow): string {
  return `${row.Action.toUpperCase()} default/${row.SourceName} => default/${row.DestinationName} (ID: ${row.ID}, Precedence: ${precedenceOf(row)})`
}

export function rootsBody(roots: readonly Row<'root'>[], trustDomain: string): Json {
  return {
    ActiveRootID: roots.find(({ active }) => active)?.ID ?? '',
    TrustDomain: trustDomain,
    Roots: roots.map(row => {
      const certificate = new X509Certificate(row.certPem)
      return {
        ID: row.ID,
        Name: row.Name,
        // A number in Consul's JSON; ours may have more digits than a number of JavaScript holds, so the last 52 bits of it.
        SerialNumber: Number(BigInt(`0x${certificate.serialNumber}`) & 0xf_ffff_ffff_ffffn),
        SigningKeyID: colons(fingerprintOf(certificate)),
        ExternalTrustDomain: trustDomain.split('.')[0] ?? '',
        NotBefore: new Date(certificate.validFrom).toISOString(),
        NotAfter: new Date(certificate.validTo).toISOString(),
        RootCert: row.certPem,
        IntermediateCerts: row.intermediatePems.length === 0 ? null : row.intermediatePems,
        Active: row.active,
        PrivateKeyType: 'ec',
        PrivateKeyBits: 256,
        CreateIndex: row.CreateIndex,
        ModifyIndex: row.ModifyIndex,
      }
    }),
  }
}

function fingerprintOf(certificate: X509Certificate): string {
  return createHash('sha256')
    .update(certificate.publicKey.export({ type: 'spki', format: 'der' }))
    .digest('hex')
}

function colons(hex: string): string {
  return hex.replace(/..(?=.)/g, '$&:')
}

export function leafBody(leaf: Leaf): Json {
  return {
    SerialNumber: colons(leaf.serial.toLowerCase()),
    CertPEM: leaf.certPem,
    PrivateKeyPEM: leaf.keyPem,
    Service: leaf.service,
    ServiceURI: leaf.uri,
    ValidAfter: leaf.notBefore.toISOString(),
    ValidBefore: leaf.notAfter.toISOString(),
    CreateIndex: leaf.index,
    ModifyIndex: leaf.index,
  }
}

export function queryBody({ ID, Name, definition, CreateIndex, ModifyIndex }: QueryRow & Row<'query'>): Json {
  const service = object(definition.Service)
  const template = object(definition.Template)
  return {
    ID,
    Name,
    Session: '',
    Token: '',
    Template: { Type: '', Regexp: '', RemoveEmptyTags: false, ...template },
    Service: {
      Service: '',
      Failover: { NearestN: 0, Datacenters: null },
      OnlyPassing: false,
      IgnoreCheckIDs: null,
      Near: '',
      Tags: null,
      NodeMeta: null,
      ServiceMeta: null,
      Connect: false,
      ...service,
    },
    DNS: { TTL: '', ...object(definition.DNS) },
    CreateIndex,
    ModifyIndex,
  }
}
