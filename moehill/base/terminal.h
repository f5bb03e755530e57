// Terminal: everything that a command says on standard error while it runs. All commands use these functions,
// so that no message begins in the middle of a line of progress. Results go to standard output and not
// through here.
//
//   show_progress("3 of 12 points");   // replaced by the next call
//   tell("point 4 was disturbed");     // stays on the screen
//   show_progress("");                 // cleared
#pragma once

#include <string>

namespace moehill {

// Shows a line of progress in place of the one before, cut to the terminal's width; "" clears it. It does
// nothing if standard error is no terminal, or a terminal that cannot clear a line (TERM=dumb).
void show_progress(const std::string& text);

// True if show_progress() shows anything.
bool shows_progress();

// Prints a line that stays, even if standard error is no terminal. Prints nothing for "".
void tell(const std::string& line);

}  // namespace moehill
