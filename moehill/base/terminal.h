// Terminal: what a command says on standard error while it runs. All commands say it here, so that a line of
// progress is never left in the middle of another one.
#pragma once

#include <string>

namespace moehill {

// Takes the place of the line of progress that was there before, cut to the terminal's width; "" clears it.
// Nothing without a terminal, and on one that cannot clear a line (TERM=dumb).
void show_progress(const std::string& text);

// True if show_progress() shows anything.
bool shows_progress();

// A line that stays, where standard error goes elsewhere, too. Nothing for "".
void tell(const std::string& line);

}  // namespace moehill
