// JSON text, put together piece by piece. A batch crosses the border as one string, which JSON.parse makes objects of: much faster than
// an object made here, property by property.
#pragma once

#include <array>
#include <charconv>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sidesplice::binding {

class Json {
 public:
  void Open(char bracket) { text_ += bracket; }
  void Close(char bracket) {
    if (text_.back() == ',') text_.pop_back();
    text_ += bracket;
    text_ += ',';
  }
  /** `name` as it is: none of ours needs an escape. */
  void Key(std::string_view name) {
    text_ += '"';
    text_ += name;
    text_ += "\":";
  }

  /** What JavaScript has given: UTF-8. */
  void Text(std::string_view utf8) { Quoted(utf8, false); }
  /** What a peer has written: bytes, each a character, so that none is lost or made up. */
  void Bytes(std::string_view bytes) { Quoted(bytes, true); }
  void Number(uint64_t number) { Digits(number); }
  void Number(double number) { std::isfinite(number) ? Digits(number) : Literal("null"); }
  void Bool(bool value) { Literal(value ? "true" : "false"); }

  void Text(std::string_view key, std::string_view utf8) { Key(key), Text(utf8); }
  void Bytes(std::string_view key, std::string_view bytes) { Key(key), Bytes(bytes); }
  void Bytes(std::string_view key, const std::optional<std::string>& bytes) {
    if (bytes) Bytes(key, std::string_view(*bytes));
  }
  void Number(std::string_view key, std::convertible_to<double> auto number) { Key(key), Number(number); }
  void Number(std::string_view key, const std::optional<double>& number) {
    if (number) Number(key, *number);
  }
  void Bool(std::string_view key, bool value) { Key(key), Bool(value); }

  /** All of it, without the comma behind its last value. */
  [[nodiscard]] std::string_view text() const {
    return text_.empty() || text_.back() != ',' ? text_ : std::string_view(text_).substr(0, text_.size() - 1);
  }

 private:
  void Literal(std::string_view literal) {
    text_ += literal;
    text_ += ',';
  }

  template <typename Value>
  void Digits(Value value) {
    std::array<char, 32> digits;
    const auto written = std::to_chars(digits.data(), digits.data() + digits.size(), value);
    Literal({digits.data(), written.ptr});
  }

  void Quoted(std::string_view text, bool latin1) {
    text_ += '"';
    for (const char character : text) {
      const auto byte = static_cast<uint8_t>(character);
      if (byte < 0x20 || (latin1 && byte >= 0x80)) {
        constexpr std::string_view kHex = "0123456789abcdef";
        text_ += "\\u00";
        text_ += kHex[byte >> 4];
        text_ += kHex[byte & 15];
      } else {
        if (character == '"' || character == '\\') text_ += '\\';
        text_ += character;
      }
    }
    text_ += "\",";
  }

  std::string text_;
};

}  // namespace sidesplice::binding
