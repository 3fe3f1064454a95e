#include "numpy_peer.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace einjit_bench {

std::unique_ptr<NumpyPeer> NumpyPeer::start(const std::string& script, std::string& why) {
  int requests[2], answers[2];
  if (pipe(requests) != 0 || pipe(answers) != 0) {
    why = "no pipe";
    return nullptr;
  }
  signal(SIGPIPE, SIG_IGN);
  const int process = fork();
  if (process == 0) {
    dup2(requests[0], 0);
    dup2(answers[1], 1);
    for (int fd : {requests[0], requests[1], answers[0], answers[1]}) close(fd);
    // Its arrays on pages as all others' are, where the system leaves that to the program.
    setenv("NUMPY_MADVISE_HUGEPAGE", "0", 1);
    execl("/usr/bin/python3", "python3", script.c_str(), static_cast<char*>(nullptr));
    _exit(127);
  }
  close(requests[0]);
  close(answers[1]);
  std::unique_ptr<NumpyPeer> peer(new NumpyPeer);
  peer->to_ = fdopen(requests[1], "w");
  peer->from_ = fdopen(answers[0], "r");
  peer->process_ = process;
  try {
    peer->version_ = nlohmann::json::parse(peer->read_line()).at("version");
  } catch (const std::exception&) {
    why = "python3-numpy is not there";
    return nullptr;
  }
  return peer;
}

NumpyPeer::~NumpyPeer() {
  std::fclose(to_);
  std::fclose(from_);
  waitpid(process_, nullptr, 0);
}

std::string NumpyPeer::read_line() {
  std::string line;
  for (int c; (c = std::fgetc(from_)) != EOF && c != '\n';) line += static_cast<char>(c);
  return line;
}

double NumpyPeer::time(const Row& row, double seconds, std::int64_t sets) {
  nlohmann::json request{{"expr", row.expression},
                         {"dtype", row.dtype == einjit::DType::f32 ? "float32" : "float64"},
                         {"seconds", seconds},
                         {"sets", sets}};
  request["shapes"] = request["strides"] = nlohmann::json::array();
  for (const einjit::Layout& operand : row.operands) {
    request["shapes"].push_back(operand.extents);
    request["strides"].push_back(operand.strides);
  }
  std::fprintf(to_, "%s\n", request.dump().c_str());
  std::fflush(to_);
  const std::string answer = read_line();
  if (answer.empty()) throw std::runtime_error("numpy gave up on " + row.expression);
  return nlohmann::json::parse(answer).at("seconds");
}

}  // namespace einjit_bench
