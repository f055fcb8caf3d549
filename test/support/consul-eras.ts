// How Consul 1.9 to 1.20 write what a sidecar asks for, for tests on a machine that has 1.8.7 alone. Written after Consul's source, field
// by field; `from` says since when. What was looked at, by the name of its file there:
//   agent/http.go              setMeta, setACLDefaultPolicy, setQueryBackend, setResultsFilteredByACLs, setIndex (0 is sent as 1)
//   agent/agent_endpoint.go    buildAgentService, the reasons of /authorize
//   api/agent.go               AgentService, AgentServiceConnectProxyConfig (what GET /v1/agent/service/:id encodes)
//   agent/structs/connect_proxy_config.go   Upstream, AccessLogsConfig, and Mode without omitempty in rows of the catalog
//   agent/structs/intention.go              Intention and its MarshalJSON, which leaves out times that are zero; String
//   agent/structs/config_entry_intentions.go   ToIntention: ID and times are those of a legacy row, and none where there was none
//   agent/structs/connect_ca.go             CARoot, IssuedCert
import type { IssuedCertificate } from './pki.ts'

export interface Member {
  /** ID of the instance; its proxy's is `<id>-sidecar-proxy`. */
  readonly id: string
  readonly name: string
  readonly publicPort: number
  readonly appPort: number
  readonly upstreams?: readonly object[]
  /** More of the proxy's registration. */
  readonly proxy?: object
  /** More of the service around it. */
  readonly service?: object
}

export class Era {
  readonly minor: number
  /** acl.default_policy of the agent. */
  readonly policy: 'allow' | 'deny'

  constructor(minor: number, policy: 'allow' | 'deny' = 'deny') {
    this.minor = minor
    this.policy = policy
  }

  get name(): string {
    return `1.${this.minor}`
  }

  #from(minor: number, fields: object): object {
    return this.minor >= minor ? fields : {}
  }

  get options() {
    return {
      // 1.9, on every answer of every endpoint, also refusals and with ACLs off (agent/http.go, wrap).
      headers: { Vary: 'Accept-Encoding', 'X-Consul-Default-Acl-Policy': this.policy },
      serverHeaders: {
        'X-Consul-Knownleader': 'true',
        'X-Consul-Lastcontact': '0',
        'X-Consul-Effective-Consistency': 'leader',
        ...this.#from(10, { 'X-Consul-Query-Backend': 'blocking-query' }),
      } as Record<string, string>,
      // Development mode printed prettily until 1.17; after that only where it is asked for.
      pretty: this.minor < 17,
    }
  }

  /** GET /v1/agent/service/:id, where nothing of ACLs or other datacenters is told. */
  registration({ id, name, publicPort, appPort, upstreams = [], proxy, service }: Member): object {
    return {
      Kind: 'connect-proxy',
      ID: `${id}-sidecar-proxy`,
      Service: `${name}-sidecar-proxy`,
      Tags: [],
      Meta: {},
      Port: publicPort,
      Address: '',
      Weights: { Passing: 1, Warning: 1 },
      EnableTagOverride: false,
      ContentHash: 'd7e7f7f3a0f1a2b3',
      ...this.#from(10, { Datacenter: 'dc1' }),
      ...this.#from(16, { Locality: { Region: 'eu-1', Zone: 'eu-1b' } }),
      Proxy: {
        DestinationServiceName: name,
        DestinationServiceID: id,
        LocalServiceAddress: '127.0.0.1',
        LocalServicePort: appPort,
        // Central configuration is merged by the agent, on from 1.9.
        Config: { protocol: 'tcp' },
        // Empty lists are left out: omitempty.
        ...(upstreams.length > 0 && { Upstreams: upstreams }),
        MeshGateway: {},
        Expose: {},
        ...proxy,
      },
      ...service,
    }
  }

  upstream(name: string, port: number): object {
    return { DestinationType: 'service', DestinationName: name, LocalBindPort: port, MeshGateway: {} }
  }

  /** A row of GET /v1/health/connect/:service. */
  row({ id, name, publicPort, appPort }: Member): object {
    return {
      Node: {
        ID: '813cb012-6a3c-4a2a-8a4c-d6a1cbe1a111',
        Node: 'n1',
        Address: '127.0.0.1',
        Datacenter: 'dc1',
        TaggedAddresses: { lan: '127.0.0.1', lan_ipv4: '127.0.0.1' },
        Meta: { 'consul-network-segment': '', ...this.#from(16, { 'consul-version': `${this.name}.0` }) },
        ...this.#from(16, { Locality: null }),
        CreateIndex: 13,
        ModifyIndex: 15,
      },
      Service: {
        Kind: 'connect-proxy',
        ID: `${id}-sidecar-proxy`,
        Service: `${name}-sidecar-proxy`,
        Tags: [],
        Address: '',
        Meta: null,
        Port: publicPort,
        ...this.#from(11, {
          TaggedAddresses: { 'consul-virtual': { Address: '240.0.0.1', Port: publicPort } },
        }),
        Weights: { Passing: 1, Warning: 1 },
        EnableTagOverride: false,
        Proxy: {
          DestinationServiceName: name,
          DestinationServiceID: id,
          LocalServiceAddress: '127.0.0.1',
          LocalServicePort: appPort,
          ...this.#from(10, { Mode: '' }),
          MeshGateway: {},
          Expose: {},
        },
        Connect: {},
        ...this.#from(13, { PeerName: '' }),
        CreateIndex: 20,
        ModifyIndex: 20,
      },
      Checks: null,
    }
  }

  /** GET /v1/agent/connect/ca/roots; the last one is active. */
  roots(roots: readonly IssuedCertificate[], intermediate?: IssuedCertificate): object {
    return {
      ActiveRootID: rootId(roots.length - 1),
      TrustDomain: 'mesh.test',
      Roots: roots.map((root, at) => ({
        ID: rootId(at),
        Name: 'Consul CA Primary Cert',
        // uint64, beyond what a number of JavaScript tells apart.
        SerialNumber: 9_223_372_036_854_775_807n,
        SigningKeyID: 'c4:f7:51',
        ExternalTrustDomain: 'mesh',
        NotBefore: '2026-01-01T00:00:00Z',
        NotAfter: '2036-01-01T00:00:00Z',
        RootCert: root.certPem,
        IntermediateCerts: intermediate === undefined ? null : [intermediate.certPem],
        Active: at === roots.length - 1,
        PrivateKeyType: 'ec',
        PrivateKeyBits: 256,
        CreateIndex: 9,
        ModifyIndex: 9,
      })),
    }
  }

  /** GET /v1/agent/connect/ca/leaf/:service */
  leaf(service: string, leaf: IssuedCertificate): object {
    return {
      SerialNumber: '08',
      CertPEM: leaf.chainPem,
      PrivateKeyPEM: leaf.sec1Pem,
      Service: service,
      ServiceURI: `spiffe://mesh.test/ns/default/dc/dc1/svc/${service}`,
      ValidAfter: '2026-01-01T00:00:00Z',
      ValidBefore: '2036-01-01T00:00:00Z',
      CreateIndex: 15,
      ModifyIndex: 15,
    }
  }

  /** A row of /v1/connect/intentions/match that a service-intentions entry made. */
  intention(source: string, destination: string, more: object = {}): object {
    return {
      SourceNS: 'default',
      SourceName: source,
      DestinationNS: 'default',
      DestinationName: destination,
      SourceType: 'consul',
      Precedence: source === '*' ? 8 : 9,
      CreateIndex: 41,
      ModifyIndex: 41,
      ...more,
    }
  }

  /** POST /v1/agent/connect/authorize where no intention speaks; from 1.18 on an own setting may be what decides. */
  byDefault(policy: 'allow' | 'deny' = this.policy, setting = false): object {
    const Reason = setting ? 'Default intention policy' : 'Default behavior configured by ACLs'
    return { Authorized: policy === 'allow', Reason }
  }
}

function rootId(at: number): string {
  return `9e:d6:09:0${at}`
}
