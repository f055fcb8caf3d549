// The text that JSON.parse gets: escapes, numbers, commas.
#include "binding/json.h"

#include <doctest/doctest.h>

#include <limits>

using sidesplice::binding::Json;

TEST_CASE("values stand between commas, none is left at an end, and what is empty is empty") {
  Json json;
  json.Open('{');
  json.Key("none");
  json.Open('[');
  json.Close(']');
  json.Bool("yes", true);
  json.Key("list");
  json.Open('[');
  json.Number(uint64_t{1});
  json.Open('{');
  json.Close('}');
  json.Text("end");
  json.Close(']');
  json.Number("gone", std::optional<double>());
  json.Close('}');
  CHECK(json.text() == R"({"none":[],"yes":true,"list":[1,{},"end"]})");
}

TEST_CASE("text of ours keeps its UTF-8, a peer's bytes are a character each, and neither ends its string or breaks a line") {
  Json json;
  json.Open('[');
  json.Text("d\xc3\xa9j\xc3\xa0 \"vu\" \\ \n");
  json.Bytes("\xc3\xa9\xff \"\\\x01");
  json.Bytes(std::string_view("a\0b", 3));
  json.Close(']');
  CHECK(json.text() == "[\"d\xc3\xa9j\xc3\xa0 \\\"vu\\\" \\\\ \\u000a\",\"\\u00c3\\u00a9\\u00ff \\\"\\\\\\u0001\",\"a\\u0000b\"]");
}

TEST_CASE("a number is the shortest that reads back equal, and one that JSON has no word for is null") {
  Json json;
  json.Open('[');
  json.Number(uint64_t{9'007'199'254'740'991});
  json.Number(0.1);
  json.Number(1e21);
  json.Number(std::numeric_limits<double>::infinity());
  json.Close(']');
  CHECK(json.text() == "[9007199254740991,0.1,1e+21,null]");
}
