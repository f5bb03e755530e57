// Terminal: what a command writes for eyes. Results go to standard output, what is said while it runs to
// standard error. All commands write through these functions, so that no message begins in the middle of a
// line of progress. They are not for files or pipes of records.
#pragma once

#include <array>
#include <cstdio>
#include <string>

namespace moehill {

enum class Colour { automatic, always, never };
constexpr auto words(Colour) { return std::array{"auto", "always", "never"}; }

// Chooses for the whole process, before anything is shown. automatic: colours on a terminal that has them
// (TERM is neither empty nor dumb), unless NO_COLOR is set and not empty.
void choose_colour(Colour colour);

// Returns the text with its verdicts in colour: good ones green, bad ones red, open ones yellow.
std::string painted(const std::string& text);

// Writes text for eyes in place of the line of progress, painted where the stream takes colours. Control
// characters other than ends of lines are shown as '?', because text from files may have some.
void show(const std::string& text, std::FILE* stream = stdout);

// Shows a line of progress in place of the one before, cut to the terminal's width; "" clears it. Does
// nothing without a terminal, or on one that cannot clear a line (TERM=dumb). From two seconds on the line
// says how long it has stood there.
void show_progress(const std::string& text);

// Says "working" where standard error is a terminal and nothing else was shown for two seconds, until the
// process ends. For commands whose standard output is no pipe: its reader may own the terminal.
void show_that_it_works();

// True if show_progress() shows anything.
bool shows_progress();

// Prints a line that stays, even if standard error is no terminal. Prints nothing for "".
void tell(const std::string& line);

}  // namespace moehill
