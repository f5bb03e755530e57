#include "moehill/routing/trace_selection.h"

#include <limits>

#include "moehill/base/error.h"
#include "moehill/base/parse.h"

namespace moehill {
namespace {

const char* const kTraceOption = "--distribution trace";

[[noreturn]] void refuse_selection(const std::string& got) {
  throw input_error(kTraceOption, got, "FILE, then any of ,layer=L ,step=S ,gates=FILE, each once",
                    "for example trace:routing.jsonl,layer=3,step=0");
}

void take_number(const std::string& word, const std::string& text, std::optional<int64_t>& number) {
  if (number) refuse_selection(word + " twice");
  number =
      parse_integer(std::string(kTraceOption) + " " + word, text, 0, std::numeric_limits<int32_t>::max());
}

// Takes one part such as "layer=3" of the text. Returns false if it is no word of a selection.
bool take_part(const std::string& part, TraceSelection& selection) {
  const size_t equals = part.find('=');
  if (equals == std::string::npos) return false;
  const std::string word = part.substr(0, equals), text = part.substr(equals + 1);
  if (word == "layer") {
    take_number(word, text, selection.layer);
  } else if (word == "step") {
    take_number(word, text, selection.step);
  } else if (word == "gates") {
    if (!selection.gates.empty() || text.empty()) refuse_selection("gates twice, or without a file");
    selection.gates = text;
  } else {
    return false;
  }
  return true;
}

}  // namespace

std::string to_string(const TraceSelection& selection) {
  std::string text = selection.file;
  if (selection.layer) text += fmt::format(",layer={}", *selection.layer);
  if (selection.step) text += fmt::format(",step={}", *selection.step);
  if (!selection.gates.empty()) text += ",gates=" + selection.gates;
  return text;
}

TraceSelection parse_trace_selection(const std::string& text) {
  TraceSelection selection;
  // Words are taken from the end, because the name of the file may contain commas too.
  std::string rest = text;
  for (size_t comma = rest.rfind(','); comma != std::string::npos; comma = rest.rfind(',')) {
    if (!take_part(rest.substr(comma + 1), selection)) break;
    rest.resize(comma);
  }
  if (rest.empty()) refuse_selection("no file in " + quoted(text));
  selection.file = rest;
  return selection;
}

}  // namespace moehill
