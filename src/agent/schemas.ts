// JSON Schemas of what the agent takes: over HTTP and in files alike. Names are Consul's; `canonical.ts` brings other spellings to them.

export interface Schema {
  readonly type?: string | readonly string[]
  readonly properties?: Readonly<Record<string, Schema>>
  readonly additionalProperties?: boolean | Schema
  readonly items?: Schema
  readonly required?: readonly string[]
  readonly enum?: readonly unknown[]
  readonly minimum?: number
  readonly maximum?: number
  readonly maxLength?: number
}

const text: Schema = { type: 'string', maxLength: 8_192 }
const boolean: Schema = { type: 'boolean' }
const integer: Schema = { type: 'integer' }
const texts: Schema = { type: 'array', items: text }
const port: Schema = { type: 'integer', minimum: 0, maximum: 65_535 }
/** As Go writes it, or nanoseconds. */
const duration: Schema = { type: ['string', 'integer'] }
const textMap: Schema = { type: 'object', additionalProperties: text }
/** Whatever it holds is passed on. */
const opaque: Schema = { type: 'object' }

/** An object that knows its keys, and no others. */
function closed(properties: Readonly<Record<string, Schema>>): Schema {
  return { type: 'object', properties, additionalProperties: false }
}

const checkKeys = {
  ...{ ID: text, CheckID: text, Name: text, Notes: text, Status: text, ServiceID: text, Token: text },
  ...{ TTL: duration, TCP: text, HTTP: text, Method: text, Body: text, TLSSkipVerify: boolean },
  Header: { type: 'object', additionalProperties: texts },
  ...{ Interval: duration, Timeout: duration, DeregisterCriticalServiceAfter: duration },
  ...{ AliasService: text, AliasNode: text, SuccessBeforePassing: integer, FailuresBeforeCritical: integer },
  ...{ OutputMaxSize: integer, Type: text },
  // Known, and refused by name: this agent runs no programs for checks.
  ...{ Args: texts, ScriptArgs: texts, Script: text, DockerContainerID: text, Shell: text, GRPC: text },
  GRPCUseTLS: boolean,
}

export const checkSchema = closed(checkKeys)

const meshGateway = closed({ Mode: text })
const expose = closed({
  Checks: boolean,
  Paths: {
    type: 'array',
    items: closed({
      ...{ Path: text, LocalPathPort: port, ListenerPort: port, Protocol: text, ParsedFromCheck: boolean },
    }),
  },
})

const upstream = closed({
  ...{ DestinationType: text, DestinationName: text, DestinationNamespace: text, Datacenter: text },
  // 1.2's name for it.
  DestinationDatacenter: text,
  ...{ LocalBindAddress: text, LocalBindPort: port, Config: opaque, MeshGateway: meshGateway },
})

const proxy = closed({
  ...{ DestinationServiceName: text, DestinationServiceID: text, LocalServiceAddress: text },
  ...{ LocalServicePort: port, Config: opaque, MeshGateway: meshGateway, Expose: expose },
  Upstreams: { type: 'array', items: upstream },
})

export const managedSchema = closed({
  ...{ ExecMode: text, Command: texts, Config: opaque },
  Upstreams: { type: 'array', items: upstream },
})

const serviceKeys = {
  ...{ ID: text, Name: text, Kind: text, Tags: texts, Meta: textMap, Port: port, Address: text },
  TaggedAddresses: { type: 'object', additionalProperties: closed({ Address: text, Port: port }) },
  Weights: closed({ Passing: { ...integer, minimum: 0 }, Warning: { ...integer, minimum: 0 } }),
  ...{ EnableTagOverride: boolean, Token: text, Proxy: proxy, Check: checkSchema },
  Checks: { type: 'array', items: checkSchema },
}

export const serviceSchema = closed({
  ...serviceKeys,
  Connect: closed({
    Native: boolean,
    // What may not stand inside is refused by name, not as unknown.
    SidecarService: closed({ ...serviceKeys, Connect: opaque }),
    Proxy: managedSchema,
  }),
})

/** In a file. Of `sidesplice manage`: where its proxy's token is, or by which auth method one is got. */
export const fileServiceSchema = closed({
  ...serviceSchema.properties,
  TokenFile: text,
  Login: closed({ AuthMethod: text, BearerTokenFile: text }),
})

export const intentionSchema = closed({
  ...{ ID: text, Description: text, SourceNS: text, SourceName: text, DestinationNS: text },
  ...{ DestinationName: text, SourceType: text, Action: text, DefaultAddr: text, DefaultPort: integer },
  ...{ Meta: textMap, Precedence: integer, CreatedAt: text, UpdatedAt: text, Hash: text },
  ...{ CreateIndex: integer, ModifyIndex: integer },
})

export const authorizeSchema = closed({ Target: text, ClientCertURI: text, ClientCertSerial: text })

export const authoritySchema = closed({
  ...{ Provider: text, Config: opaque, State: opaque, ForceWithoutCrossSigning: boolean },
  ...{ CreateIndex: integer, ModifyIndex: integer },
})

/** What may stand in `Config` of the CA's configuration. */
export const authorityConfigSchema = closed({
  ...{
    LeafCertTTL: duration,
    PrivateKey: text,
    RootCert: text,
    PrivateKeyType: text,
    PrivateKeyBits: integer,
  },
  // Of Consul's provider, without a meaning here.
  ...{ IntermediateCertTTL: duration, RotationPeriod: duration, RootCertTTL: duration },
  ...{ CSRMaxPerSecond: { type: 'number' }, CSRMaxConcurrent: integer },
})

export const checkUpdateSchema = closed({ Status: text, Output: text })

export const querySchema = closed({
  ...{ ID: text, Name: text, Session: text, Token: text, DNS: closed({ TTL: duration }) },
  Template: closed({ Type: text, Regexp: text, RemoveEmptyTags: boolean }),
  Service: closed({
    ...{
      Service: text,
      OnlyPassing: boolean,
      Near: text,
      Tags: texts,
      NodeMeta: textMap,
      ServiceMeta: textMap,
    },
    ...{ Connect: boolean, IgnoreCheckIDs: texts },
    Failover: closed({ NearestN: integer, Datacenters: texts }),
  }),
  ...{ CreateIndex: integer, ModifyIndex: integer },
})

export const policySchema = closed({
  ...{ ID: text, Name: text, Description: text, Datacenters: texts },
  // A hundred times what anybody writes by hand: each is parsed, and what it says looked up at every call.
  Rules: { type: 'string', maxLength: 65_536 },
  ...{ Hash: text, CreateIndex: integer, ModifyIndex: integer },
})

const named = { type: 'array', items: closed({ ID: text, Name: text }) } as const

export const tokenSchema = closed({
  ...{ AccessorID: text, SecretID: text, Description: text, Local: boolean, Policies: named, Roles: named },
  ServiceIdentities: {
    type: 'array',
    items: closed({ ServiceName: text, Datacenters: texts }),
  },
  ...{ ExpirationTTL: duration, ExpirationTime: text, CreateTime: text, Hash: text, AuthMethod: text },
  ...{ CreateIndex: integer, ModifyIndex: integer, Rules: text, Type: text, Name: text, ID: text },
})
