// This header writes text that a person reads on a terminal. Results go to standard output, and messages
// during a run go to standard error. All commands write through these functions, so that no message begins in
// the middle of a line of progress. They are not for files or pipes of records.
//
//   show_progress("point 3 of 8");
//   show(table);                     // takes the place of the line of progress
#pragma once

#include <array>
#include <cstdio>
#include <string>

namespace moehill {

// Colour is the value of --color.
enum class Colour { automatic, always, never };
constexpr auto words(Colour) { return std::array{"auto", "always", "never"}; }

// Chooses for the whole process, before anything is shown. automatic: colours on a terminal that has them
// (TERM is neither empty nor dumb), unless NO_COLOR is set and not empty.
void choose_colour(Colour colour);

// Returns the text with its verdicts in colour: good ones green, bad ones red, open ones yellow.
std::string painted(const std::string& text);

// Writes text in place of the line of progress, in colours if the stream takes them. Control characters other
// than line ends are shown as '?', because text from files may contain some.
void show(const std::string& text, std::FILE* stream = stdout);

// Shows a line of progress in place of the last one, cut to the terminal's width; "" clears it. Does nothing
// without a terminal, or on a terminal that cannot clear a line (TERM=dumb). From two seconds on the line
// says how long it has stood there.
void show_progress(const std::string& text);

// From now on, shows "working" if standard error is a terminal and nothing else was shown for two seconds.
// Commands whose standard output is a pipe do not call it, because the reader of the pipe may own the
// terminal.
void show_that_it_works();

// Returns true if show_progress() shows anything.
bool shows_progress();

// Prints a line that stays on standard error, even if that is no terminal. Prints nothing for "".
void tell(const std::string& line);

}  // namespace moehill
