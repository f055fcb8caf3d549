// /v1/acl: bootstrapping, policies and tokens. Secrets are in the answer that made them alone.
import { policyBody, policyListBody } from '../policies.ts'
import { Refusal } from '../refusal.ts'
import type { Row } from '../rows.ts'
import { policySchema, tokenSchema } from '../schemas.ts'
import { topicOf } from '../topics.ts'
import type { World } from '../world.ts'
import { type Call, type Handler, type Reply, require, serverHeaders } from './call.ts'
import type { Route } from './route.ts'

export const aclRoutes: readonly Route[] = [
  {
    path: '/v1/acl/bootstrap',
    methods: { PUT: { handler: enabled(({ world }) => ({ body: world.tokens.bootstrap() })) } },
  },
  { path: '/v1/acl/tokens', methods: { GET: { handler: reading(list) } } },
  { path: '/v1/acl/token', methods: { PUT: { handler: writing(create), schema: tokenSchema } } },
  { path: '/v1/acl/token/self', methods: { GET: { handler: enabled(self) } } },
  {
    path: '/v1/acl/token/:id',
    methods: {
      GET: { handler: reading(read) },
      PUT: { handler: writing(update), schema: tokenSchema },
      DELETE: { handler: writing(remove) },
    },
  },
  { path: '/v1/acl/policies', methods: { GET: { handler: reading(policies) } } },
  {
    path: '/v1/acl/policy',
    methods: {
      PUT: {
        handler: writing(({ world, body }) => ({ body: policyBody(world.policies.create(body)) })),
        schema: policySchema,
      },
    },
  },
  {
    path: '/v1/acl/policy/name/:name',
    methods: {
      GET: {
        handler: reading(call => policy(call, call.world.policies.knownByName(call.params.name ?? ''))),
      },
    },
  },
  {
    path: '/v1/acl/policy/:id',
    methods: {
      GET: { handler: reading(call => policy(call, call.world.policies.known(call.params.id ?? ''))) },
      PUT: { handler: writing(updatePolicy), schema: policySchema },
      DELETE: { handler: writing(removePolicy) },
    },
  },
]

function enabled(handler: Handler): Handler {
  return call => {
    if (!call.world.tokens.enabled) throw new Refusal(401, 'ACL support disabled')
    return handler(call)
  }
}

function reading(handler: Handler): Handler {
  return enabled(call => {
    require(call.rights().readsTokens)
    return handler(call)
  })
}

function writing(handler: Handler): Handler {
  return enabled(call => {
    require(call.rights().writesTokens)
    return handler(call)
  })
}

function list({ world }: Call): Reply {
  return { headers: serverHeaders(world), body: world.tokens.list().map(row => world.tokens.show(row)) }
}

function create({ world, body }: Call): Reply {
  return { body: world.tokens.create(body) }
}

function self({ world, rights }: Call): Reply {
  const row = world.tokens.get(rights().accessor)
  if (row === undefined) throw new Refusal(403, 'ACL not found')
  return { headers: serverHeaders(world), body: world.tokens.show(row) }
}

function read({ world, params }: Call): Reply {
  const row = world.tokens.get(params.id ?? '')
  if (row === undefined) throw new Refusal(403, 'ACL not found')
  return { headers: serverHeaders(world), body: world.tokens.show(row) }
}

function update({ world, params, body }: Call): Reply {
  return { body: world.tokens.update(params.id ?? '', body) }
}

function remove({ world, params }: Call): Reply {
  world.tokens.delete(params.id ?? '')
  return { body: true }
}

function policies({ world }: Call): Reply {
  return { headers: indexed(world), body: world.policies.list().map(policyListBody) }
}

function policy({ world }: Call, row: Row<'policy'>): Reply {
  return { headers: indexed(world), body: policyBody(row) }
}

function updatePolicy({ world, params, body }: Call): Reply {
  return { body: policyBody(world.policies.update(params.id ?? '', body)) }
}

function removePolicy({ world, params }: Call): Reply {
  world.policies.delete(params.id ?? '')
  return { body: true }
}

function indexed(world: World): Readonly<Record<string, string>> {
  return { ...serverHeaders(world), 'X-Consul-Index': String(world.state.indexOf([topicOf.tokens])) }
}
