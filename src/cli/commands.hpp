// The subcommands of the program; each returns the exit status and throws Error for user mistakes.
#pragma once

#include <string>
#include <vector>

#include "cli/tensor.hpp"
#include "einjit/einjit.hpp"

namespace einjit {

struct EvalArguments {
  std::string expression;
  std::vector<std::string> inputs;  // .npy files
  std::string output;               // .npy file; empty: print
};
int run_eval(const EvalArguments& arguments);

struct ExplainArguments {
  std::string expression;
  std::string shapes;  // "64x128,128x32", "" for one scalar
  std::string dtype = "f32";
  std::string stage = "schedule";
  std::string schedule;  // text, or empty
  std::string path = "automatic";
  std::string target;  // an ISA's name; empty: this machine
  bool timings = false;
};
int run_explain(const ExplainArguments& arguments);

struct TuneArguments {
  std::string expression;
  std::string shapes;
  std::string dtype = "f32";
  std::string path = "automatic";
  TuneOptions limits;
};
int run_tune(const TuneArguments& arguments);

struct CompileArguments {
  std::string expression;
  std::string shapes;
  std::string dtype = "f32";
  std::string target;  // an ISA's name; empty: this machine
  std::string name;    // of the function; empty: the object's file name
  std::string object;  // the files to write
  std::string header;
  std::string schedule;
  std::string path = "automatic";
  bool is_scaled = false;
};
int run_compile(const CompileArguments& arguments);

// `einjit cache info|list|verify|clear`: the objects on disk.
int run_cache(const std::string& action);

int run_repl();

// "64x128,128x32" to row-major layouts; an empty entry or "scalar" is 0-d.
std::vector<Layout> parse_shapes(const std::string& text, DType dtype);
DType parse_dtype(const std::string& name);
Path parse_path(const std::string& name);
Target parse_target(const std::string& name);

// Compiles and runs an expression over tensors with the standard engine.
Tensor evaluate(const std::string& expression, const std::vector<Tensor>& operands,
                const Scale& scale = {}, const CompileOptions& options = {});

}  // namespace einjit
