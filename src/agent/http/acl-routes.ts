// /v1/acl: bootstrapping, and tokens. Secrets are in the answer that made them alone.
import { Refusal } from '../refusal.ts'
import { tokenSchema } from '../schemas.ts'
import type { Handler } from './call.ts'
import { type Call, type Reply, serverHeaders, unlessManaging } from './call.ts'
import type { Route } from './route.ts'

export const aclRoutes: readonly Route[] = [
  {
    path: '/v1/acl/bootstrap',
    methods: { PUT: { handler: enabled(({ world }) => ({ body: world.tokens.bootstrap() })) } },
  },
  { path: '/v1/acl/tokens', methods: { GET: { handler: managing(list) } } },
  { path: '/v1/acl/token', methods: { PUT: { handler: managing(create), schema: tokenSchema } } },
  { path: '/v1/acl/token/self', methods: { GET: { handler: enabled(self) } } },
  {
    path: '/v1/acl/token/:id',
    methods: {
      GET: { handler: managing(read) },
      PUT: { handler: managing(update), schema: tokenSchema },
      DELETE: { handler: managing(remove) },
    },
  },
]

function enabled(handler: Handler): Handler {
  return call => {
    if (!call.world.tokens.enabled) throw new Refusal(401, 'ACL support disabled')
    return handler(call)
  }
}

function managing(handler: Handler): Handler {
  return enabled(call => {
    unlessManaging(call.rights())
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
