// Entry point of the program `moehill`; everything else is in run_command_line().
#include "moehill/cli/commands.h"

int main(int argc, char** argv) {
  return moehill::run_command_line({argv + (argc > 0 ? 1 : 0), argv + argc});
}
