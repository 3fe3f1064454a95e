// The program: einjit eval | explain | tune | compile | cache | repl.

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "cli/commands.hpp"

namespace {

// An expression may begin with '-' or ',' or be empty, so it is taken out before options are
// parsed: it is the first argument after the subcommand that is no option of ours.
std::string take_expression(std::vector<std::string>& arguments, const CLI::App& command) {
  for (auto at = arguments.begin() + 1; at != arguments.end(); ++at) {
    const std::string name = at->substr(0, at->find('='));
    const CLI::Option* option = nullptr;
    if (name.size() > 1 && name[0] == '-') option = command.get_option_no_throw(name);
    if (!option) {
      std::string expression = *at;
      arguments.erase(at);
      return expression;
    }
    const bool has_value = option->get_type_size() > 0 && at->find('=') == std::string::npos;
    if (has_value && at + 1 != arguments.end()) ++at;
  }
  throw einjit::Error({"an expression is missing: einjit " + arguments[0] + " EXPR ..."});
}

bool asks_for_help(const std::vector<std::string>& arguments) {
  return arguments.size() > 1 && (arguments[1] == "--help" || arguments[1] == "-h");
}

int run_program(std::vector<std::string> arguments) {
  CLI::App app{"einjit: einsum expressions as native kernels"};
  app.require_subcommand(1);
  app.failure_message(CLI::FailureMessage::simple);

  einjit::EvalArguments eval;
  CLI::App* eval_command = app.add_subcommand(
      "eval", "Evaluate EXPR over .npy files: einjit eval EXPR A.npy B.npy ... [-o OUT.npy]");
  eval_command->add_option("inputs", eval.inputs, ".npy files (f4 or f8), one per term");
  eval_command->add_option("-o,--output", eval.output, "the .npy file to write; default: print");

  einjit::ExplainArguments explain;
  CLI::App* explain_command = app.add_subcommand(
      "explain", "Show EXPR at a stage: einjit explain EXPR --shape 64x128,128x32");
  explain_command->add_option("--shape", explain.shapes, "extents per operand, 64x128,128x32");
  explain_command->add_option("--dtype", explain.dtype, "f32 or f64")->capture_default_str();
  explain_command
      ->add_option("--emit", explain.stage, "expression, index, schedule, loops, llvm or asm")
      ->capture_default_str();
  explain_command->add_option("--schedule", explain.schedule,
                              "a schedule in place of the chosen one");
  explain_command->add_option("--path", explain.path, "automatic, pairwise or one-nest")
      ->capture_default_str();
  explain_command->add_option("--target", explain.target,
                              "native, x86-64-v2, x86-64-v3, x86-64-v4, aarch64");
  explain_command->add_flag("--timings", explain.timings,
                            "compile, and print the time of each stage");

  einjit::TuneArguments tune;
  CLI::App* tune_command = app.add_subcommand(
      "tune", "Measure the best few schedules: einjit tune EXPR --shape 64x128,128x32");
  tune_command->add_option("--shape", tune.shapes, "extents per operand, 64x128,128x32");
  tune_command->add_option("--dtype", tune.dtype, "f32 or f64")->capture_default_str();
  tune_command->add_option("--path", tune.path, "automatic, pairwise or one-nest")
      ->capture_default_str();
  tune_command->add_option("--candidates", tune.limits.candidates, "schedules tried for each step")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();

  einjit::CompileArguments compile;
  CLI::App* compile_command = app.add_subcommand(
      "compile", "An object and a C header: einjit compile EXPR --shape 4x5,5x6 -o kernel.o");
  compile_command->add_option("--shape", compile.shapes, "extents per operand, 64x128,128x32");
  compile_command->add_option("--dtype", compile.dtype, "f32 or f64")->capture_default_str();
  compile_command->add_option("--target", compile.target,
                              "native, x86-64-v2, x86-64-v3, x86-64-v4, aarch64");
  compile_command->add_option("--name", compile.name, "of the function; default: the file's name");
  compile_command->add_option("-o,--output", compile.object, "the object file to write")
      ->required();
  compile_command->add_option("--header", compile.header, "the C header to write");
  compile_command->add_option("--schedule", compile.schedule,
                              "a schedule in place of the chosen one");
  compile_command->add_option("--path", compile.path, "automatic, pairwise or one-nest")
      ->capture_default_str();
  compile_command->add_flag("--scaled", compile.is_scaled, "the function takes alpha and beta");

  std::string cache_action = "info";
  CLI::App* cache_command = app.add_subcommand("cache", "Compiled code kept on disk");
  cache_command->add_option("action", cache_action, "info, list, verify or clear")
      ->check(CLI::IsMember({"info", "list", "verify", "clear"}));

  CLI::App* repl_command = app.add_subcommand("repl", "Tensors and expressions, interactively");

  if (!arguments.empty() && !asks_for_help(arguments)) {
    if (arguments[0] == "eval") eval.expression = take_expression(arguments, *eval_command);
    if (arguments[0] == "compile")
      compile.expression = take_expression(arguments, *compile_command);
    if (arguments[0] == "tune") tune.expression = take_expression(arguments, *tune_command);
    if (arguments[0] == "explain")
      explain.expression = take_expression(arguments, *explain_command);
  }
  std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them last first
  try {
    app.parse(arguments);
  } catch (const CLI::ParseError& error) {
    // CLI11's statuses are above 100; ours is 1 for every mistake.
    return app.exit(error) == 0 ? 0 : 1;
  }
  if (eval_command->parsed()) return einjit::run_eval(eval);
  if (explain_command->parsed()) return einjit::run_explain(explain);
  if (tune_command->parsed()) return einjit::run_tune(tune);
  if (compile_command->parsed()) return einjit::run_compile(compile);
  if (cache_command->parsed()) return einjit::run_cache(cache_action);
  if (repl_command->parsed()) return einjit::run_repl();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const int status = run_program({argv + 1, argv + argc});
    if (std::fflush(stdout) == 0 && !std::ferror(stdout)) return status;
    fmt::print(stderr, "error: cannot write the output\n");
    return 1;
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "error: out of memory\n");
  } catch (const einjit::Error& error) {
    fmt::print(stderr, "{}\n", error.what());
  } catch (const std::exception& error) {
    fmt::print(stderr, "error: {}\n", error.what());
  }
  return 1;
}
