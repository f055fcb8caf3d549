// Tokens and calls: what is asked with which rights, of a real Consul and of the embedded agent alike.

/** What a token is made of: rules of policies, or whatever else stands in its body. */
export interface TokenCase {
  readonly title: string
  /** Each a policy of its own. */
  readonly rules?: readonly string[]
  /** Where its policies hold. */
  readonly datacenters?: readonly string[]
  readonly identity?: string
  /** A secret instead of a token that is made. */
  readonly secret?: string
}

const seesAll = 'service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }'

export const tokenCases: readonly TokenCase[] = [
  { title: 'none', secret: '' },
  { title: 'one that nobody knows', secret: '5f0f2a0e-31c0-4b8e-a8b0-6fd3b6f1a9d1' },
  { title: 'no policy' },
  { title: 'an empty policy', rules: [''] },
  { title: 'service db read', rules: ['service "db" { policy = "read" }'] },
  { title: 'service db write', rules: ['service "db" { policy = "write" }'] },
  { title: 'service write, nodes read', rules: [`service "db" { policy = "write" } ${seesAll}`] },
  { title: 'as JSON', rules: ['{"service":{"db":{"policy":"write"}},"node_prefix":{"":{"policy":"read"}}}'] },
  {
    title: 'everything but db',
    rules: [`service_prefix "" { policy = "write" } service "db" { policy = "deny" }`],
  },
  {
    title: 'the longest prefix',
    rules: [
      'service_prefix "" { policy = "deny" } service_prefix "d" { policy = "write" } node "n1" { policy = "read" }',
    ],
  },
  {
    title: 'a longer prefix that denies',
    rules: [
      'service_prefix "d" { policy = "write" } service_prefix "db" { policy = "deny" } node "n1" { policy = "read" }',
    ],
  },
  {
    title: 'exact before prefix',
    rules: ['service "db" { policy = "write" } service_prefix "db" { policy = "deny" }'],
  },
  { title: 'intentions denied', rules: [`service "db" { policy = "write" intentions = "deny" } ${seesAll}`] },
  { title: 'intentions written', rules: ['service "db" { policy = "read" intentions = "write" }'] },
  { title: 'intentions of all', rules: ['service_prefix "" { policy = "read" intentions = "write" }'] },
  {
    title: 'intentions of all but one',
    rules: ['service_prefix "" { policy = "read" intentions = "write" } service "web" { policy = "write" }'],
  },
  {
    title: 'service denied, intentions read',
    rules: ['service "db" { policy = "deny" intentions = "read" }'],
  },
  { title: 'node read', rules: ['node "n1" { policy = "read" }'] },
  { title: 'node write', rules: ['node_prefix "n" { policy = "write" }'] },
  { title: "another node's", rules: ['node "n2" { policy = "write" } agent "n2" { policy = "write" }'] },
  { title: 'agent read', rules: ['agent "n1" { policy = "read" }'] },
  { title: 'agent denied', rules: ['agent_prefix "" { policy = "write" } agent "n1" { policy = "deny" }'] },
  { title: 'operator read', rules: ['operator = "read"'] },
  { title: 'operator write', rules: ['operator = "write"'] },
  { title: 'operator denied by another policy', rules: ['operator = "write"', 'operator = "deny"'] },
  { title: 'acl read', rules: ['acl = "read"'] },
  { title: 'acl write', rules: ['acl = "write"'] },
  { title: 'query read', rules: [`query "q" { policy = "read" } ${seesAll}`] },
  { title: 'query write', rules: ['query_prefix "" { policy = "write" }'] },
  { title: 'query of another name', rules: ['query "other" { policy = "write" }'] },
  { title: 'read and deny', rules: ['service "db" { policy = "read" }', 'service "db" { policy = "deny" }'] },
  {
    title: 'read and write',
    rules: ['service "db" { policy = "write" }', `service "db" { policy = "read" } ${seesAll}`],
  },
  {
    title: 'intentions of two policies',
    rules: [
      'service "db" { policy = "write" intentions = "write" }',
      'service "db" { policy = "read" intentions = "read" }',
    ],
  },
  {
    title: 'of another datacenter',
    rules: [`service_prefix "" { policy = "write" } ${seesAll}`],
    datacenters: ['dc2'],
  },
  {
    title: 'what governs nothing here',
    rules: ['key_prefix "" { policy = "list" } session_prefix "" { policy = "write" } keyring = "write"'],
  },
  { title: 'an identity', identity: 'db' },
  {
    title: 'an identity, and a policy that denies',
    identity: 'db',
    rules: ['service "db" { policy = "deny" }'],
  },
  {
    title: 'an identity, and a policy that allows more',
    identity: 'web',
    rules: ['service "db" { policy = "write" intentions = "write" }'],
  },
]

/** What is there for one token's calls, made anew for each with a token that may do everything. */
export interface Given {
  /** A word that is in every name of it. */
  readonly own: string
  readonly intention: string
  readonly wildcard: string
  readonly query: string
  readonly policy: string
  readonly token: string
}

export interface ApiCall {
  readonly method: 'GET' | 'PUT' | 'POST' | 'DELETE'
  readonly path: string
  readonly body?: unknown
  /** Of an answer that is a list: what of it is compared. */
  readonly seen?: (body: never) => readonly string[]
}

const keys = (body: object) => Object.keys(body)
const peer = 'spiffe://11111111-2222-3333-4444-555555555555.consul/ns/default/dc/dc1/svc/api'
const nothingHas = '12345678-1234-1234-1234-123456789012'

export function callsOf({ own, intention, wildcard, query, policy, token }: Given): readonly ApiCall[] {
  const get = (path: string, seen?: ApiCall['seen']): ApiCall => ({
    method: 'GET',
    path,
    ...(seen && { seen }),
  })
  const put = (path: string, body?: unknown): ApiCall => ({ method: 'PUT', path, body })
  const rule = { SourceName: `peer-${own}`, Action: 'allow' }
  const ids = (
    rows: readonly { readonly ServiceID?: string; readonly Service?: { readonly ID: string } }[],
  ) => rows.map(row => row.ServiceID ?? row.Service?.ID ?? '')
  return [
    ...[get('/v1/agent/self'), get('/v1/agent/metrics?format=prometheus'), get('/v1/agent/services', keys)],
    ...[
      get('/v1/agent/service/db1'),
      get('/v1/agent/service/db1-sidecar-proxy'),
      get('/v1/agent/service/nobody'),
    ],
    get('/v1/agent/checks', keys),
    put('/v1/agent/service/register', {
      ID: 'db1',
      Name: 'db',
      Port: 1,
      Connect: { SidecarService: { Port: 2 } },
    }),
    put('/v1/agent/service/register', { ID: 'web1', Name: 'db', Port: 3 }),
    // Back to what it was, for whoever may write both.
    put('/v1/agent/service/register', { ID: 'web1', Name: 'web', Port: 3 }),
    put('/v1/agent/service/register', {
      ...{ Kind: 'connect-proxy', ID: 'db-by-hand', Name: 'db-by-hand', Port: 4 },
      Proxy: { DestinationServiceName: 'db' },
    }),
    put('/v1/agent/service/deregister/db-by-hand'),
    put('/v1/agent/service/deregister/nobody'),
    put('/v1/agent/service/maintenance/db1?enable=false'),
    put('/v1/agent/maintenance?enable=false'),
    put('/v1/agent/check/register', {
      ID: 'of-db',
      Name: 'of-db',
      ServiceID: 'db1',
      TTL: '1h',
      Status: 'passing',
    }),
    put('/v1/agent/check/register', { ID: 'of-node', Name: 'of-node', TTL: '1h', Status: 'passing' }),
    put('/v1/agent/check/pass/of-db'),
    put('/v1/agent/check/update/of-node', { Status: 'passing', Output: 'fine' }),
    put('/v1/agent/check/pass/of-nobody'),
    put('/v1/agent/check/deregister/of-nobody'),
    put('/v1/agent/service/maintenance/nobody?enable=false'),
    ...[
      get('/v1/agent/connect/ca/roots'),
      get('/v1/agent/connect/ca/leaf/db'),
      get('/v1/agent/connect/ca/leaf/web'),
    ],
    { method: 'POST', path: '/v1/agent/connect/authorize', body: { Target: 'db', ClientCertURI: peer } },
    { method: 'POST', path: '/v1/agent/connect/authorize', body: { Target: 'web', ClientCertURI: peer } },
    ...[get('/v1/connect/ca/roots'), get('/v1/connect/ca/configuration')],
    put('/v1/connect/ca/configuration', { Provider: 'consul', Config: { LeafCertTTL: '72h' } }),
    get('/v1/connect/intentions', (rows: readonly { SourceName: string; DestinationName: string }[]) =>
      rows.map(row => `${row.SourceName} ${row.DestinationName}`),
    ),
    ...[
      get('/v1/connect/intentions/match?by=destination&name=db'),
      get('/v1/connect/intentions/match?by=source&name=web'),
    ],
    ...[get('/v1/connect/intentions/match?by=destination&name=*')],
    get('/v1/connect/intentions/check?source=web&destination=db'),
    ...[get(`/v1/connect/intentions/${intention}`), get(`/v1/connect/intentions/${wildcard}`)],
    get(`/v1/connect/intentions/${nothingHas}`),
    ...['db', 'web', '*'].map(
      (DestinationName): ApiCall => ({
        ...{ method: 'POST', path: '/v1/connect/intentions' },
        body: { ...rule, SourceName: `new-${own}`, DestinationName },
      }),
    ),
    put(`/v1/connect/intentions/${intention}`, { ...rule, DestinationName: 'db' }),
    put(`/v1/connect/intentions/${intention}`, { ...rule, DestinationName: 'web' }),
    put(`/v1/connect/intentions/${intention}`, { ...rule, DestinationName: 'db' }),
    put(`/v1/connect/intentions/${nothingHas}`, { ...rule, DestinationName: 'db' }),
    ...[`${intention}`, nothingHas].map(
      (id): ApiCall => ({ method: 'DELETE', path: `/v1/connect/intentions/${id}` }),
    ),
    ...[
      get('/v1/health/service/db', ids),
      get('/v1/health/connect/db', ids),
      get('/v1/catalog/service/db', ids),
    ],
    ...[get('/v1/catalog/connect/db', ids), get('/v1/discovery-chain/db')],
    get('/v1/health/checks/db', (rows: readonly { CheckID: string }[]) => rows.map(({ CheckID }) => CheckID)),
    get('/v1/catalog/services', body => keys(body).filter(name => name !== 'consul')),
    get('/v1/catalog/nodes', (rows: readonly { Node: string }[]) => rows.map(({ Node }) => Node)),
    get('/v1/query', (rows: readonly { Name: string }[]) => rows.map(({ Name }) => Name)),
    ...[
      get(`/v1/query/${query}`),
      get(`/v1/query/${query}/execute`, ({ Nodes }: { Nodes: object[] }) => ids(Nodes)),
    ],
    { method: 'POST', path: '/v1/query', body: { Name: `new-${own}`, Service: { Service: 'db' } } },
    put(`/v1/query/${query}`, { Name: 'q', Service: { Service: 'db' } }),
    put(`/v1/query/${query}`, { Name: `moved-${own}`, Service: { Service: 'db' } }),
    { method: 'DELETE', path: `/v1/query/${query}` },
    ...[
      get('/v1/acl/tokens'),
      get(`/v1/acl/token/${token}`),
      get('/v1/acl/policies'),
      get(`/v1/acl/policy/${policy}`),
    ],
    ...[
      get(`/v1/acl/policy/name/given-${own}`),
      get('/v1/acl/policy/name/nobodys'),
      get('/v1/acl/policy/nonsense'),
    ],
    put('/v1/acl/policy', { Name: `new-${own}`, Rules: 'operator = "read"' }),
    put(`/v1/acl/policy/${policy}`, { Name: `given-${own}`, Rules: 'operator = "write"' }),
    put('/v1/acl/token', { Description: `new ${own}`, Policies: [{ Name: `given-${own}` }] }),
    put(`/v1/acl/token/${token}`, {
      Description: `changed ${own}`,
      Policies: [{ Name: 'global-management' }],
    }),
    put(`/v1/acl/policy/${nothingHas}`, { Name: 'nobodys' }),
    put(`/v1/acl/token/${nothingHas}`, { Description: 'nobodys' }),
    { method: 'DELETE', path: `/v1/acl/policy/${nothingHas}` },
    { method: 'DELETE', path: `/v1/acl/token/${nothingHas}` },
    { method: 'DELETE', path: `/v1/acl/policy/${policy}` },
    { method: 'DELETE', path: `/v1/acl/token/${token}` },
  ]
}
