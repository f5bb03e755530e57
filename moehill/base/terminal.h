// Terminal: what a command says on standard error while it runs. All commands say it through these functions,
// so that no message begins in the middle of a line of progress.
#pragma once

#include <string>

namespace moehill {

// Shows a line of progress in place of the one before, cut to the terminal's width; "" clears it. Does
// nothing without a terminal, or on one that cannot clear a line (TERM=dumb).
void show_progress(const std::string& text);

// True if show_progress() shows anything.
bool shows_progress();

// Prints a line that stays, also where standard error is no terminal. Prints nothing for "".
void tell(const std::string& line);

}  // namespace moehill
