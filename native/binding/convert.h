// Between JavaScript's values and the core's. Arguments are validated in TypeScript: here they are taken as they are.
#pragma once

#include <napi.h>

#include "core/kernel_probe.h"
#include "core/tally.h"
#include "core/types.h"

namespace sidesplice::binding {

core::ListenerSpec ToListenerSpec(const Napi::Object& value);
/** `admit(session, generation, peer, host, port, connectTimeoutMs)` */
core::Answer ToAdmission(const Napi::CallbackInfo& info);
/** `plan(session, generation, connectTimeoutMs, attempts)`, each `[endpoint, host, port, serverName, timeLimitMs, ...expect]` */
core::Answer ToPlan(const Napi::CallbackInfo& info);
/** `refuse(session, generation, reason, detail, peer)` */
core::Answer ToRefusal(const Napi::CallbackInfo& info);

/** What the probe of kernel TLS has found. */
Napi::Object FromFacts(Napi::Env env, const core::KernelFacts& facts);
/** A string: its JSON. */
Napi::Value FromBatch(Napi::Env env, const core::Batch& batch);
Napi::Array FromViews(Napi::Env env, const std::vector<core::SessionView>& views);
Napi::Object FromTally(Napi::Env env, const core::ListenerTally& tally);
Napi::Array FromEndpoints(Napi::Env env, const std::vector<core::EndpointCounts>& endpoints);

}  // namespace sidesplice::binding
