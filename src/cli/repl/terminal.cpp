// Reading lines: libedit with history and completion on a terminal, plain lines otherwise.
#include <editline/readline.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstring>
#include <iostream>

#include "cli/commands.hpp"
#include "cli/repl/repl.hpp"

namespace einjit {
namespace {

Repl* completing = nullptr;  // libedit's callbacks take no argument

char* next_completion(const char* prefix, int state) {
  static std::vector<std::string> matches;
  if (state == 0) {
    matches.clear();
    for (const std::string& name : completing->names())
      if (name.starts_with(prefix)) matches.push_back(name);
  }
  if (matches.empty()) return nullptr;
  const std::string match = matches.back();
  matches.pop_back();
  return strdup(match.c_str());
}

// True if the line was understood.
bool execute(Repl& repl, const std::string& line) {
  try {
    fmt::print("{}", repl.execute(line));
    std::fflush(stdout);
    return true;
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "error: out of memory\n");
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
  }
  return false;
}

int run_on_terminal(Repl& repl) {
  fmt::print("einjit: expressions like C = ij,jk->ik A B; :help tells the rest\n");
  completing = &repl;
  rl_completion_entry_function =
      reinterpret_cast<decltype(rl_completion_entry_function)>(next_completion);
  while (!repl.is_done()) {
    char* line = readline("> ");
    if (!line) break;
    if (*line) add_history(line);
    execute(repl, line);
    std::free(line);
  }
  return 0;
}

// On a pipe a mistake is told and the rest still runs; the status says that there was one.
int run_on_pipe(Repl& repl) {
  int status = 0;
  for (std::string line; !repl.is_done() && std::getline(std::cin, line);)
    if (!execute(repl, line)) status = 1;
  return status;
}

}  // namespace

int run_repl() {
  Repl repl;
  return isatty(STDIN_FILENO) ? run_on_terminal(repl) : run_on_pipe(repl);
}

}  // namespace einjit
