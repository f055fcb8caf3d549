// One function a shape.
#include "binding/convert.h"

#include <optional>
#include <string>

namespace sidesplice::binding {

namespace {

std::string Text(const Napi::Object& of, const char* key) {
  const Napi::Value value = of.Get(key);
  return value.IsString() ? value.As<Napi::String>().Utf8Value() : std::string();
}

std::optional<std::string> MaybeText(const Napi::Object& of, const char* key) {
  const Napi::Value value = of.Get(key);
  if (!value.IsString()) return std::nullopt;
  return value.As<Napi::String>().Utf8Value();
}

double Number(const Napi::Object& of, const char* key) {
  const Napi::Value value = of.Get(key);
  return value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : 0;
}

std::vector<std::string> Texts(const Napi::Object& of, const char* key) {
  std::vector<std::string> texts;
  const Napi::Value value = of.Get(key);
  if (!value.IsArray()) return texts;
  const auto array = value.As<Napi::Array>();
  for (uint32_t at = 0; at < array.Length(); at++) texts.push_back(array.Get(at).As<Napi::String>().Utf8Value());
  return texts;
}

core::PlannedAttempt ToAttempt(const Napi::Object& value) {
  return {.endpoint = Text(value, "endpoint"),
          .address = ToAddress(value.Get("address").As<Napi::Object>()),
          .expect = Texts(value, "expect"),
          .server_name = Text(value, "serverName"),
          .time_limit_ms = Number(value, "timeLimitMs")};
}

/** What a peer wrote into its certificate: bytes, each a character, so that none is lost or made up. */
Napi::Value Latin1(Napi::Env env, const std::string& text) {
  napi_value value = nullptr;
  napi_create_string_latin1(env, text.data(), text.size(), &value);
  return {env, value};
}

Napi::Array FromTexts(Napi::Env env, const std::vector<std::string>& texts) {
  Napi::Array array = Napi::Array::New(env, texts.size());
  for (uint32_t at = 0; at < texts.size(); at++) array.Set(at, Latin1(env, texts[at]));
  return array;
}

void Set(Napi::Object& of, const char* key, const std::optional<std::string>& text) {
  if (text) of.Set(key, Latin1(of.Env(), *text));
}

void Set(Napi::Object& of, const char* key, const std::optional<double>& number) {
  if (number) of.Set(key, *number);
}

const char* NameOf(core::SessionState state) {
  switch (state) {
    case core::SessionState::kHandshaking:
      return "handshaking";
    case core::SessionState::kDeciding:
      return "deciding";
    case core::SessionState::kDialing:
      return "dialing";
    case core::SessionState::kRelaying:
      return "relaying";
  }
  return "";
}

Napi::Object FromView(Napi::Env env, const core::SessionView& view) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("id", static_cast<double>(view.id));
  object.Set("listener", view.listener);
  object.Set("name", view.name);
  object.Set("direction", view.inbound ? "inbound" : "outbound");
  object.Set("startedAt", view.started_at);
  object.Set("bytesToUpstream", static_cast<double>(view.bytes_to_upstream));
  object.Set("bytesToDownstream", static_cast<double>(view.bytes_to_downstream));
  Set(object, "peer", view.peer);
  Set(object, "downstream", view.downstream);
  Set(object, "endpoint", view.endpoint);
  return object;
}

Napi::Object FromAttempt(Napi::Env env, const core::AttemptRecord& attempt) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("endpoint", attempt.endpoint);
  object.Set("outcome", attempt.outcome);
  Set(object, "detail", attempt.detail);
  Set(object, "connectMs", attempt.connect_ms);
  Set(object, "handshakeMs", attempt.handshake_ms);
  return object;
}

Napi::Object FromRecord(Napi::Env env, const core::Record& record) {
  Napi::Object object = FromView(env, record.view);
  object.Set("reason", record.reason);
  object.Set("relayed", record.relayed);
  object.Set("relay", record.relay);
  if (record.spliced_bytes > 0) object.Set("splicedBytes", static_cast<double>(record.spliced_bytes));
  Napi::Array attempts = Napi::Array::New(env, record.attempts.size());
  for (uint32_t at = 0; at < record.attempts.size(); at++) attempts.Set(at, FromAttempt(env, record.attempts[at]));
  object.Set("attempts", attempts);
  object.Set("durationMs", record.duration_ms);
  if (!record.tls_version.empty()) object.Set("tlsVersion", record.tls_version);
  if (!record.cipher.empty()) object.Set("cipher", record.cipher);
  Set(object, "detail", record.detail);
  Set(object, "policyMs", record.policy_ms);
  Set(object, "connectMs", record.connect_ms);
  Set(object, "handshakeMs", record.handshake_ms);
  return object;
}

template <typename Item, typename Convert>
Napi::Array FromAll(Napi::Env env, const std::vector<Item>& items, Convert convert) {
  Napi::Array array = Napi::Array::New(env, items.size());
  for (uint32_t at = 0; at < items.size(); at++) {
    // Values of one item live no longer than it takes to make it.
    const Napi::HandleScope scope(env);
    array.Set(at, convert(items[at]));
  }
  return array;
}

}  // namespace

core::ListenerSpec ToListenerSpec(const Napi::Object& value) {
  return {.key = Text(value, "key"),
          .name = Text(value, "name"),
          .inbound = Text(value, "direction") == "inbound",
          .handshake_timeout_ms = Number(value, "handshakeTimeoutMs"),
          .half_close_timeout_ms = Number(value, "halfCloseTimeoutMs"),
          .idle_timeout_ms = Number(value, "idleTimeoutMs"),
          .max_waiting = static_cast<uint32_t>(Number(value, "maxWaiting"))};
}

core::Address ToAddress(const Napi::Object& value) {
  return {.host = Text(value, "host"), .port = static_cast<uint16_t>(Number(value, "port"))};
}

core::Answer ToAnswer(const Napi::Object& value) {
  core::Answer answer;
  answer.session = static_cast<core::SessionId>(Number(value, "session"));
  answer.generation = static_cast<core::Generation>(Number(value, "generation"));
  answer.admitted = value.Get("admitted").ToBoolean().Value();
  answer.reason = Text(value, "reason");
  answer.detail = MaybeText(value, "detail");
  answer.peer = MaybeText(value, "peer");
  answer.connect_timeout_ms = Number(value, "connectTimeoutMs");
  const Napi::Value target = value.Get("target");
  if (target.IsObject()) answer.target = ToAddress(target.As<Napi::Object>());
  const Napi::Value attempts = value.Get("attempts");
  if (attempts.IsArray()) {
    const auto array = attempts.As<Napi::Array>();
    for (uint32_t at = 0; at < array.Length(); at++) answer.attempts.push_back(ToAttempt(array.Get(at).As<Napi::Object>()));
  }
  return answer;
}

Napi::Object FromBatch(Napi::Env env, const core::Batch& batch) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("admit", FromAll(env, batch.admit, [&](const core::AdmitQuestion& question) {
               Napi::Object value = Napi::Object::New(env);
               value.Set("session", static_cast<double>(question.session));
               value.Set("listener", question.listener);
               value.Set("uriSans", FromTexts(env, question.uri_sans));
               value.Set("serial", question.serial);
               return value;
             }));
  object.Set("route", FromAll(env, batch.route, [&](const core::RouteQuestion& question) {
               Napi::Object value = Napi::Object::New(env);
               value.Set("session", static_cast<double>(question.session));
               value.Set("listener", question.listener);
               return value;
             }));
  object.Set("lookup", FromAll(env, batch.lookup, [&](const core::LookupQuestion& question) {
               Napi::Object value = Napi::Object::New(env);
               value.Set("session", static_cast<double>(question.session));
               value.Set("host", question.host);
               return value;
             }));
  object.Set("ended", FromAll(env, batch.ended, [&](const core::Record& record) { return FromRecord(env, record); }));
  object.Set("closed", FromAll(env, batch.closed, [&](uint32_t id) { return Napi::Number::New(env, id); }));
  return object;
}

Napi::Object FromFacts(Napi::Env env, const core::KernelFacts& facts) {
  Napi::Object object = Napi::Object::New(env);
  if (!facts.why.empty()) object.Set("why", facts.why);
  object.Set("rekeys", facts.rekeys);
  Napi::Array ciphers = Napi::Array::New(env, facts.ciphers.size());
  for (uint32_t at = 0; at < facts.ciphers.size(); at++) {
    Napi::Object cipher = Napi::Object::New(env);
    cipher.Set("correct", facts.ciphers[at].correct);
    cipher.Set("speed", facts.ciphers[at].speed);
    ciphers.Set(at, cipher);
  }
  object.Set("ciphers", ciphers);
  return object;
}

Napi::Array FromViews(Napi::Env env, const std::vector<core::SessionView>& views) {
  return FromAll(env, views, [&](const core::SessionView& view) {
    Napi::Object object = FromView(env, view);
    object.Set("state", NameOf(view.state));
    return object;
  });
}

Napi::Object FromTally(Napi::Env env, const core::ListenerTally& tally) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("accepted", static_cast<double>(tally.accepted));
  object.Set("open", static_cast<double>(tally.open));
  object.Set("waiting", static_cast<double>(tally.waiting));
  object.Set("bytesToUpstream", static_cast<double>(tally.bytes_to_upstream));
  object.Set("bytesToDownstream", static_cast<double>(tally.bytes_to_downstream));
  return object;
}

Napi::Array FromEndpoints(Napi::Env env, const std::vector<core::EndpointCounts>& endpoints) {
  return FromAll(env, endpoints, [&](const core::EndpointCounts& endpoint) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("name", endpoint.name);
    object.Set("open", static_cast<double>(endpoint.open));
    object.Set("dialing", static_cast<double>(endpoint.dialing));
    object.Set("attempts", static_cast<double>(endpoint.attempts));
    object.Set("failures", static_cast<double>(endpoint.failures));
    object.Set("consecutiveFailures", static_cast<double>(endpoint.consecutive_failures));
    object.Set("failingSince", endpoint.failing_since);
    object.Set("lastFailureAt", endpoint.last_failure_at);
    return object;
  });
}

}  // namespace sidesplice::binding
