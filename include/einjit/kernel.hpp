// A compiled contraction: cheap to copy, callable from many threads at once.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "einjit/error.hpp"
#include "einjit/executor.hpp"
#include "einjit/view.hpp"

namespace einjit {

// What an unchecked call can meet.
enum class Status : std::uint8_t { ok, out_of_memory, no_kernel };

// Run-time factors: out = alpha * sum + beta * out. A kernel compiled without them computes with 1
// and 0. With beta 0 the old output is never read.
struct Scale {
  double alpha = 1;
  double beta = 0;
};

struct KernelState;  // src/engine/executable.hpp

class Kernel {
 public:
  Kernel() = default;
  explicit Kernel(std::shared_ptr<const KernelState> state);
  explicit operator bool() const { return state_ != nullptr; }

  // Unchecked. `operands` are pointers to element (0, 0, ...) of the output, then of each input, of
  // the layouts compiled for. The output may not overlap an input. Allocates nothing once this
  // thread's scratch has grown to what the kernel needs.
  // The executor runs the pieces of large kernels; by default default_executor(). With `scratch`,
  // of at least scratch_bytes(), the calling thread takes its scratch there instead of from its
  // own.
  Status run(void* const* operands, const Scale& scale = {}, const Executor* executor = nullptr,
             std::span<std::byte> scratch = {}) const noexcept {
    if (direct_) {
      direct_(reinterpret_cast<char* const*>(operands), slots_, &scale.alpha);
      return Status::ok;
    }
    return run_steps(operands, scale, executor ? *executor : default_executor(), scratch);
  }

  // Unchecked, pointers as arguments: kernel(out, a, b).
  template <class T, class... In>
  requires(std::same_as<T, std::remove_const_t<In>>&&...) Status operator()(
      T* out, In*... in) const noexcept {
    void* const operands[] = {out, const_cast<T*>(in)...};
    return run(operands);
  }

  // Checked: every view's type, extents and strides must be those compiled for. Throws Error.
  template <MdspanLike Out, MdspanLike... In>
  void operator()(const Out& out, const In&... in) const {
    run(Scale{}, out, in...);
  }
  template <MdspanLike Out, MdspanLike... In>
  void run(const Scale& scale, const Out& out, const In&... in) const {
    static_assert(!std::is_const_v<std::remove_reference_t<decltype(*out.data_handle())>>,
                  "the output must be writable");
    check_count(1 + sizeof...(in));
    std::size_t operand = 0;
    (check_view(operand++, out), ..., check_view(operand++, in));
    void* const operands[] = {const_cast<ElementOf<Out>*>(out.data_handle()),
                              const_cast<ElementOf<In>*>(in.data_handle())...};
    check_status(run(operands, scale));
  }

  // The layouts compiled for: inputs, and the output's.
  std::span<const Layout> inputs() const;
  const Layout& output() const;
  // Scratch a run takes on the calling thread, bytes.
  std::size_t scratch_bytes() const;
  // The part of it for temporaries between steps, bytes.
  std::int64_t workspace_bytes() const;
  std::int64_t flop_count() const;
  // By the model, of one run on one core.
  double predicted_seconds() const;

 private:
  using Direct = void (*)(char* const*, const std::int64_t*, const double*);

  Status run_steps(void* const* operands, const Scale& scale, const Executor& executor,
                   std::span<std::byte> scratch) const noexcept;
  const Layout& operand(std::size_t number) const;
  void check_count(std::size_t operands) const;
  [[noreturn]] void fail(std::size_t operand, const Layout& given) const;
  static void check_status(Status status);

  template <MdspanLike V>
  void check_view(std::size_t number, const V& view) const {
    const Layout& layout = operand(number);
    bool same = layout.dtype == dtype_of<ElementOf<V>> && layout.extents.size() == view.rank();
    for (std::size_t r = 0; same && r < layout.extents.size(); ++r)
      same = layout.extents[r] == static_cast<std::int64_t>(view.extent(r)) &&
             (layout.extents[r] <= 1 ||
              layout.strides[r] == static_cast<std::int64_t>(view.stride(r)));
    if (!same) fail(number, layout_of(view));
  }

  std::shared_ptr<const KernelState> state_;
  // One unit that needs nothing else: called at once.
  Direct direct_ = nullptr;
  const std::int64_t* slots_ = nullptr;
};

}  // namespace einjit
