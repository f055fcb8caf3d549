// What an agent's configuration may hold: Consul's names, those that mean something here and those that are read and passed over.
import type { Schema } from './schemas.ts'

const text: Schema = { type: 'string' }
const boolean: Schema = { type: 'boolean' }
const port: Schema = { type: 'integer', minimum: -1, maximum: 65_535 }
const anything: Schema = {}

function closed(properties: Readonly<Record<string, Schema>>): Schema {
  return { type: 'object', properties, additionalProperties: false }
}

/** Of a Consul server or of parts that are not there: an operator's file may have them. */
const passedOver = [
  ...['Server', 'Bootstrap', 'BootstrapExpect', 'Ui', 'UiConfig', 'DisableUpdateCheck', 'Performance'],
  ...['LeaveOnTerminate', 'SkipLeaveOnInterrupt', 'RejoinAfterLeave', 'RetryJoin', 'Limits'],
  ...[
    'EnableLocalScriptChecks',
    'EnableScriptChecks',
    'EnableCentralServiceConfig',
    'LogFile',
    'EnableDebug',
  ],
] as const

export const configSchema = closed({
  ...{ Datacenter: text, DataDir: text, NodeName: text, BindAddr: text, ClientAddr: text, LogLevel: text },
  LogJson: boolean,
  Addresses: closed({ Http: text, Https: text }),
  ...{ CertFile: text, KeyFile: text, CaFile: text, VerifyIncoming: boolean, VerifyIncomingHttps: boolean },
  Ports: closed({
    ...{ Http: port, SidecarMinPort: port, SidecarMaxPort: port, ProxyMinPort: port, ProxyMaxPort: port },
    ...{ Dns: port, Https: port, Grpc: port, SerfLan: port, SerfWan: port, Server: port },
    ...{ ExposeMinPort: port, ExposeMaxPort: port },
  }),
  Acl: closed({
    ...{ Enabled: boolean, DefaultPolicy: { enum: ['allow', 'deny'] }, DownPolicy: text },
    ...{ TokenTtl: text, PolicyTtl: text, RoleTtl: text, EnableTokenPersistence: boolean },
    Tokens: closed({ Master: text, InitialManagement: text, Agent: text, Default: text, AgentMaster: text }),
  }),
  Connect: closed({
    Enabled: boolean,
    CaProvider: { enum: ['consul'] },
    CaConfig: { type: 'object' },
    Proxy: closed({ AllowManagedApiRegistration: boolean, AllowManagedRoot: boolean }),
    ProxyDefaults: closed({
      ExecMode: { enum: ['daemon'] },
      DaemonCommand: { type: 'array', items: text },
      // As the documentation of 1.2 named it.
      Command: { type: 'array', items: text },
      Config: { type: 'object' },
    }),
  }),
  // The rest of it is for receivers that are not there.
  Telemetry: { type: 'object', properties: { PrometheusRetentionTime: { type: ['string', 'integer'] } } },
  // Each is looked at by itself, so that one that is wrong leaves the rest running.
  Service: anything,
  Services: { type: 'array', items: anything },
  Check: anything,
  Checks: { type: 'array', items: anything },
  ...Object.fromEntries(passedOver.map(name => [name, anything])),
})

export const passedOverKeys: readonly string[] = passedOver
