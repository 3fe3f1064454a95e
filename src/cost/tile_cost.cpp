#include "cost/tile_cost.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdlib>

namespace einjit {
namespace {

// In cycles; fitted to what the emitted code does on AVX-512 machines.
constexpr double kScalarLoad = 0.5;
constexpr double kGatherPerLane = 2.0;
constexpr double kScatterPerLane = 5;
constexpr double kStoreTransposed = 1.2;  // against transposing loads: lines are written in pieces
constexpr double kStoreAdded = 1.5;       // to what was there
constexpr double kLatencySlack = 1.5;   // accumulators beyond the latency, for loads that come late
constexpr double kInFlight = 128;       // multiply-adds that a core looks ahead
constexpr double kLoopOverhead = 1.0;   // of one trip round the innermost loop
constexpr double kLongLoop = 48;        // steps: its end is a small part of it
constexpr double kTileOverhead = 6.0;   // pointers, first loads, loop entry
constexpr double kSplitLines = 1.5;     // of blocks stored
constexpr double kSplitLoads = 1.15;    // of blocks loaded
constexpr double kPartOfLine = 0.4;     // exponent, of the parts a line is read in
constexpr double kJoinedPart = 0.5;     // of a vector: read and put beside others at once
constexpr double kJoin = 1.0;           // a shuffle for each vector that is put behind another
constexpr double kSplitStores = 5.0;    // of vectors that lie across lines
constexpr double kRowOverhead = 5.0;    // of a row of the sum, if there are several
constexpr double kRowStart = 1.5;       // of a row read once, by every tile that goes across it
constexpr double kPackPerVector = 5.0;  // load, store and their misses, contiguous
constexpr double kTails =
    0.004;  // for each kind of tail a loop leaves: more code, cold when it runs
constexpr double kTailAgain = 0.8;      // of what tails of a copy read
constexpr double kPackOverhead = 1500;  // scratch, its first touch, a plan to walk
constexpr double kLoadTie = 0.1;        // of a load that hides behind FMAs: fewer are better
constexpr double kMisled = 0.85;        // of a vector whose row a prefetcher has left
constexpr double kMisledNear = 0.15;    // the same for rows that prefetchers follow now and then
constexpr double kFarJump = 32768;      // bytes no load is followed across
constexpr double kNearRow = 1280;  // bytes: rows end to end are followed, parts of rows half so far
constexpr std::int64_t kDiagonalTile = 16;  // elements each way
constexpr double kLoadsKept = 0.8;  // of the peak rate of loads, what a tile of FMAs sustains

std::int64_t round_up_to_power_of_two(std::int64_t length) {
  return static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(length)));
}

// Of a line that is read in `parts`, a power of two.
double parts_cost(std::int64_t parts) {
  static const auto costs = [] {
    std::array<double, 16> table{};
    for (std::size_t k = 0; k < table.size(); ++k)
      table[k] = std::pow(std::ldexp(1.0, static_cast<int>(k)), kPartOfLine);
    return table;
  }();
  return costs[static_cast<std::size_t>(std::countr_zero(static_cast<std::uint64_t>(parts)))];
}

// Whether the tile copies, and reads rows along one of its labels and writes them along the other.
bool transposes(const Problem& p, const RegisterTile& tile) {
  if (!p.reduced.empty() || p.in.size() != 1 || tile.vec < 0 || tile.unroll < 0 ||
      tile.unroll2 >= 0)
    return false;
  const auto& from = p.c.in[0].strides;
  const auto& to = p.c.out.strides;
  auto is_turned = [&](Label l, Label m) {
    return from[l] == 1 && to[l] != 1 && to[m] == 1 && from[m] != 1;
  };
  return is_turned(tile.vec, tile.unroll) || is_turned(tile.unroll, tile.vec);
}

// The reduced label the tile's innermost loop runs over.
Label innermost(const Problem& p, const RegisterTile& tile) {
  if (tile.inner >= 0) return tile.inner;
  for (auto l = p.reduced.rbegin(); l != p.reduced.rend(); ++l)
    if (*l != tile.vec) return *l;
  return -1;
}

}  // namespace

TileCost::TileCost(const Problem& problem, const RegisterTile& tile, unsigned may_pack)
    : p_(problem),
      tile_(tile),
      may_pack_(may_pack),
      runs_along_vec_(runs_along_vec(problem.c, tile)),
      lanes_(static_cast<double>(p_.lanes)),
      shuffles_(p_.lane_bits) {
  // Pieces of a label, and what lies in one on average.
  auto cut = [&](Label l, std::int64_t length, double& average) {
    const std::int64_t extent = std::max<std::int64_t>(p_.c.extents[l], 1);
    const std::int64_t whole = extent / length, rest = extent - whole * length;
    if (whole > 0 && rest > 0) {
      kinds_ *= 2;
      if (is_read_again(l)) again_ += static_cast<double>(rest) / static_cast<double>(extent);
    }
    const auto pieces = static_cast<double>(whole + (rest > 0));
    average = l == tile.vec
                  ? (static_cast<double>(whole) * vectors_of(length) + vectors_of(rest)) / pieces
                  : p_.extent(l) / pieces;
    return pieces;
  };
  const double pieces = tile.vec >= 0 ? cut(tile.vec, tile.vec_length, vectors_) : 1;
  if (tile.unroll >= 0) cut(tile.unroll, tile.unroll_length, unroll_);
  if (tile.unroll2 >= 0) cut(tile.unroll2, tile.unroll2_length, unroll2_);
  tiles_ = 1 / (unroll_ * unroll2_);
  for (Label l : p_.kept) tiles_ *= l == tile.vec ? pieces : p_.extent(l);
  if (tile.is_kept) tiles_ *= pieces;
  steps_ = 1;
  for (Label l : p_.reduced)
    if (!tile.is_kept || l != tile.vec) steps_ *= l == tile.vec ? pieces : p_.extent(l);
  set_sum(tile);
}

// Whether a tail along the label comes back to lines of an input that L2 does not hold: those of
// rows a copy reads in blocks.
bool TileCost::is_read_again(Label l) const {
  return p_.reduced.empty() && p_.bytes > static_cast<double>(p_.target.l2_bytes) &&
         std::ranges::any_of(p_.in, [&](const Operand& a) { return is_contiguous(a, l); });
}

void TileCost::set_sum(const RegisterTile& tile) {
  tile_.inner = tile.inner;
  tile_.steps = tile.steps;
  tile_.chains = tile.chains;
  tile_.is_gray = tile.is_gray;
  innermost_ = innermost(p_, tile_);
  for (std::size_t k = 0; k < std::min(kMostPacked, p_.in.size()); ++k) {
    readings_[k][0] = reading(p_.in[k], false);
    if (may_pack_ >> k & 1) readings_[k][1] = reading(p_.in[k], true);
  }
  const double sums = unroll_ * unroll2_ * vectors_;
  const double merges = (tile_.chains - 1) * sums / p_.target.fma_per_cycle;
  tile_cycles_ = rows_of_sum(sums) + merges + stores() + kTileOverhead;
  if (tile_.is_by_rows) tile_cycles_ += turning() / tiles_;
}

// A last piece is as wide as the next power of two, and no cheaper than the datapath is wide.
double TileCost::vectors_of(std::int64_t length) const {
  const std::int64_t whole = length >> p_.lane_bits, rest = length & (p_.lanes - 1);
  if (rest == 0) return static_cast<double>(whole);
  const auto width = static_cast<double>(round_up_to_power_of_two(rest));
  const Target& target = p_.target;
  const double least = target.datapath_bytes == 0
                           ? 1.0
                           : static_cast<double>(target.datapath_bytes) / target.vector_bytes;
  return static_cast<double>(whole) + std::max(width / lanes_, least);
}

// Whether strided vectors can come from transposed blocks.
bool TileCost::is_transposable(const Operand& a) const {
  auto fits = [&](Label l, std::int64_t length) {
    return l >= 0 && is_contiguous(a, l) && length * 4 >= p_.lanes;
  };
  return fits(tile_.unroll, tile_.unroll_length) || fits(tile_.unroll2, tile_.unroll2_length) ||
         fits(innermost_, tile_.steps);
}

// Values of each position of a short label, unrolled or summed at once, that lie in turn are taken
// apart, or put together, with a shuffle for each but one.
double TileCost::turn_shuffles(const Operand& a) const {
  for (auto [label, length] :
       {std::pair{tile_.unroll, tile_.unroll_length}, {innermost_, tile_.steps}})
    if (label >= 0 && length == p_.c.extents[label] &&
        is_interleaved(p_.c, *a.access, tile_.vec, label))
      return p_.extent(label) - 1;
  return 0;
}

// Elements a transposed block has along the label in which the array is contiguous.
std::int64_t TileCost::block_length(const Operand& a) const {
  const bool by_unroll = tile_.unroll >= 0 && is_contiguous(a, tile_.unroll);
  return by_unroll ? tile_.unroll_length : tile_.steps;
}

// Blocks that are not full are stored at the cost of full ones, across lines if they do not end on
// one.
double TileCost::store_waste(const Operand& a) const {
  const std::int64_t length = block_length(a);
  const double split = length % p_.lanes != 0 ? kSplitLines : 1;
  return static_cast<double>((length + p_.lanes - 1) / p_.lanes) * lanes_ /
         static_cast<double>(length) * split;
}

// Of a vector of a block that is transposed.
double TileCost::load_parts(const Operand& a) const {
  const std::int64_t length = round_up_to_power_of_two(block_length(a));
  return static_cast<double>(p_.lanes / std::min(p_.lanes, length));
}

// Blocks are loaded in parts of a power of two, which share vectors: shorter ones come to a line
// more often, those that do not lie within one come to two, which matters beyond L2.
double TileCost::load_shuffles(const Operand& a) const {
  const std::int64_t length = block_length(a);
  const double parts = load_parts(a);
  const std::int64_t block = p_.lanes / static_cast<std::int64_t>(parts);
  // Where rows are not followed, parts of lines cost more than their shuffles.
  const double each =
      p_.target.page_streams > 0
          ? std::countr_zero(static_cast<std::uint64_t>(block)) + kJoinedPart * (parts - 1)
          : shuffles_ * parts_cost(p_.lanes / block);
  const auto blocks = static_cast<double>((length + block - 1) / block * block);
  const bool is_within =
      length % block == 0 &&
      (a.row_alignment >= block || p_.bytes <= static_cast<double>(p_.target.l2_bytes));
  return each * blocks / static_cast<double>(length) * (is_within ? 1 : kSplitLoads);
}

// Loading one vector of an operand that moves along the vec label.
double TileCost::vector_load(const Operand& a, bool is_packed) const {
  const double load = 1 / p_.target.loads_per_cycle;
  if (is_packed || is_contiguous(a, tile_.vec)) return load;
  if (const double shuffled = turn_shuffles(a); shuffled > 0) return load + shuffled;
  if (is_transposable(a)) return p_.target.page_streams > 0 ? load * load_parts(a) : load;
  return lanes_ * kGatherPerLane;
}

// Values of an operand a step needs, of one vector each.
double TileCost::count(const Operand& a) const {
  double unrolled = moves(a, tile_.unroll) ? unroll_ : 1;
  const auto steps = static_cast<double>(tile_.steps);
  if (is_window(*a.access, tile_.unroll, innermost_)) unrolled = (unrolled + steps - 1) / steps;
  return unrolled * (moves(a, tile_.unroll2) ? unroll2_ : 1);
}

// Hoisted loads are spread over all steps. What is read once comes from afar: the fewer vectors of
// each row, the less of it is on its way.
TileCost::Reading TileCost::reading(const Operand& a, bool is_packed) const {
  const double values = count(a);
  Reading r;
  if (moves(a, tile_.vec)) {
    r.loads = values * (vectors_ * vector_load(a, is_packed));
    const bool is_straight = is_contiguous(a, tile_.vec);
    if (!is_packed && !is_straight && is_transposable(a) && turn_shuffles(a) == 0)
      r.shuffles = values * vectors_ * load_shuffles(a);
    if (!is_packed && is_straight && !runs_along_vec_ && a.elements * 2 > p_.points)
      r.rows = values;
    if (!is_packed) r.shuffles += values * vectors_ * kMisled * misled_part(a);
  } else {
    r.loads = values * kScalarLoad;
  }
  if (!a.is_summed) r.loads /= steps_;
  return r;
}

// Of the loads of rows, those that the prefetchers do harm to.
double TileCost::misled_part(const Operand& a) const {
  if (tile_.is_gray || !misleads_prefetchers(p_, a, tile_.vec, innermost_)) return 0;
  const auto apart = static_cast<double>(std::abs(a.access->strides[innermost_]) * p_.item);
  const double jump = apart * static_cast<double>(tile_.steps);
  const bool is_whole = tile_.vec_length * p_.item >= static_cast<std::int64_t>(apart);
  const bool is_near = jump <= (is_whole ? kNearRow : kNearRow / 2);
  return is_near ? kMisledNear : std::max(kMisledNear, 1 - jump / kFarJump);
}

double TileCost::stores() const {
  const double each = unroll_ * unroll2_, load = 1 / p_.target.loads_per_cycle;
  double value;
  if (tile_.is_kept)
    value = kStoreAdded * each * (2 * shuffles_ + 2 + vectors_);
  else if (runs_along_vec_)
    value = each * (2 * shuffles_ + 2);
  else if (tile_.vec < 0)
    value = each;
  else if (is_joined())
    value = each * vectors_ * kJoin + joined_stores(each);
  else if (is_contiguous(p_.out, tile_.vec) || tile_.is_by_rows)
    value = each * vectors_ * load;
  else if (const double shuffled = turn_shuffles(p_.out); shuffled > 0)
    value = each * vectors_ * (load + shuffled);
  else if (is_transposable(p_.out))
    value = each * vectors_ * (1 + kStoreTransposed * shuffles_ * store_waste(p_.out));
  else
    value = each * vectors_ * lanes_ * kScatterPerLane;
  return p_.c.beta == Beta::zero ? value : kStoreAdded * value;
}

// Whether runs of the vec label that are not whole vectors are written as one.
bool TileCost::is_joined() const {
  if (!p_.reduced.empty()) return false;
  const std::int64_t run = p_.c.extents[tile_.vec];
  if (tile_.vec_length < run || run % p_.lanes == 0) return false;
  return (tile_.unroll >= 0 && is_written_joined(p_.c, tile_.vec, tile_.unroll)) ||
         (tile_.unroll2 >= 0 && is_written_joined(p_.c, tile_.vec, tile_.unroll2));
}

double TileCost::joined_stores(double each) const {
  const double full = each * p_.extent(tile_.vec) / lanes_;
  return std::ceil(full) * (std::floor(full) == full ? 1 : kSplitStores) /
         p_.target.loads_per_cycle;
}

double TileCost::packing(unsigned packed) const {
  double cycles = 0;
  for (std::size_t k = 0; k < p_.in.size(); ++k)
    if (packed >> k & 1) {
      const Operand& a = p_.in[k];
      const bool is_straight = moves(a, tile_.vec) && is_contiguous(a, tile_.vec);
      cycles +=
          kPackOverhead +
          a.positions / lanes_ * (is_straight ? kPackPerVector : kPackPerVector + 1.5 * shuffles_);
    }
  return cycles;
}

// Of sums by rows that are made in a buffer, and turned when they are written.
double TileCost::turning() const {
  if (std::abs(p_.out.access->strides[tile_.vec]) <= 1) return 0;
  return p_.out.elements / lanes_ * (kPackPerVector + kStoreTransposed * shuffles_);
}

// Along a vec label that is summed, each row of the sum begins anew, and lanes beyond its end are
// kept out of the last piece's sums.
double TileCost::rows_of_sum(double sums) const {
  if (!runs_along_vec_) return 0;
  double rows = 1;
  for (Label l : p_.reduced)
    if (l != tile_.vec) rows *= p_.extent(l);
  const bool has_rest = (p_.c.extents[tile_.vec] & (p_.lanes - 1)) != 0;
  return rows * ((rows > 1 ? kRowOverhead : 0) + (has_rest ? sums / vectors_ : 0));
}

// Whether the innermost loop's own instructions run beside so many multiply-adds of a step, where
// cores look far ahead: steps in a row save nothing then, unless they save a short loop's end.
bool TileCost::hides_loop(double operations) const {
  const Target& target = p_.target;
  return target.page_streams > 0 && p_.extent(innermost_) >= kLongLoop &&
         operations > target.fma_latency * target.fma_per_cycle;
}

double TileCost::step_cycles(const Reading& all) const {
  const double factors = std::max<double>(1, static_cast<double>(p_.in.size()) - 1);
  const double operations = unroll_ * unroll2_ * vectors_ * factors;
  double step =
      std::max(operations / p_.target.fma_per_cycle, all.loads / kLoadsKept) + kLoadTie * all.loads;
  step += all.shuffles + all.rows * kRowStart;
  if (p_.reduced.empty()) return step;
  // Short sums along the lanes overlap with the next tile's.
  const double waits =
      runs_along_vec_ ? std::min(1.0, steps_ * operations / kInFlight) : 1.0 / tile_.chains;
  step = std::max(step, kLatencySlack * p_.target.fma_latency * waits);
  if (p_.extent(innermost_) > static_cast<double>(tile_.steps) || runs_along_vec_)
    step += kLoopOverhead / static_cast<double>(hides_loop(operations) ? 1 : tile_.steps);
  return step;
}

double TileCost::cycles(unsigned packed) const {
  Reading all;
  for (std::size_t k = 0; k < p_.in.size(); ++k) {
    const Reading r = k < kMostPacked ? readings_[k][packed >> k & 1] : reading(p_.in[k], false);
    all.loads += r.loads;
    all.shuffles += r.shuffles;
    all.rows += r.rows;
  }
  return (tiles_ * (steps_ * step_cycles(all) + tile_cycles_) + packing(packed)) *
         (1 + kTails * (kinds_ - 1) + kTailAgain * again_);
}

double TileCost::store_cycles() const {
  const double each = stores() * (p_.c.beta == Beta::zero ? kStoreAdded : 1);
  // (What others cost with each piece of their sums was measured without.)
  return tiles_ * (each + (tile_.is_by_rows ? kTileOverhead : 0));
}

bool misleads_prefetchers(const Problem& p, const Operand& a, Label vec, Label inner) {
  if (vec < 0 || inner < 0 || p.c.is_reduced(vec) || a.access->strides[vec] != 1) return false;
  const auto apart = static_cast<double>(std::abs(a.access->strides[inner]) * p.item);
  const bool is_read_once = a.elements * 4 >= p.points;
  return is_read_once && apart * 2 > kNearRow && apart < kFarJump &&
         p.bytes > static_cast<double>(p.target.l1_bytes) &&
         p.bytes <= static_cast<double>(p.target.l2_bytes);
}

bool moves_blocks(const Problem& p, const RegisterTile& tile) {
  const std::int64_t line = p.target.line_bytes / p.item;
  return p.target.page_streams == 0 && p.bytes >= static_cast<double>(p.target.l3_bytes) &&
         tile.vec_length <= line && tile.unroll_length <= line && transposes(p, tile);
}

bool transposes_in_cache(const Problem& p, const RegisterTile& tile, std::int64_t tiles) {
  if (p.bytes > kShareOfL3 * static_cast<double>(p.target.fast_cache_bytes()) ||
      p.out.row_alignment * p.item % p.target.line_bytes != 0 || !transposes(p, tile))
    return false;
  return std::ranges::all_of(std::array{tile.vec, tile.unroll}, [&](Label l) {
    return tile.step_of(l) <= kDiagonalTile && p.c.extents[l] >= tiles * tile.step_of(l) &&
           !p.c.is_dynamic(l);
  });
}

bool is_window(const Access& access, Label unroll, Label inner) {
  return unroll >= 0 && inner >= 0 && access.strides[unroll] != 0 &&
         access.strides[unroll] == access.strides[inner];
}

int registers_used(const Problem& p, const RegisterTile& tile) {
  const Contraction& c = p.c;
  const std::int64_t lanes = p.lanes;
  const std::int64_t vectors =
      p.vectors_in(std::min(tile.vec_length, tile.vec < 0 ? 1 : c.extents[tile.vec]));
  const auto sums = vectors * tile.unroll_length * tile.unroll2_length * tile.chains;
  const bool in_dot_form = runs_along_vec(c, tile);
  // The columns of blocks being transposed along the sum are all there at once.
  std::int64_t block = 1;
  for (std::size_t k = 0; k < c.in.size(); ++k)
    if (!in_dot_form && tile.vec >= 0 && std::abs(c.in[k].strides[tile.vec]) > 1 &&
        !(tile.packed >> k & 1))
      block = std::min<std::int64_t>(lanes, tile.steps);
  // A window's rows stay until the last step that reads them.
  const Label inner = innermost(p, tile);
  const bool has_window =
      tile.steps > 1 && std::ranges::any_of(c.in, [&](const Access& a) {
        return is_window(a, tile.unroll, inner) || is_window(a, tile.unroll2, inner);
      });
  // Without unrolled labels every vector is read once, as an operand of its FMA.
  const bool is_plain = c.in.size() == 2 && !in_dot_form && block == 1 && tile.chains == 1 &&
                        tile.unroll_length * tile.unroll2_length == 1;
  const auto held = c.in.size() < 2 ? 1
                    : is_plain      ? 2
                    : has_window    ? vectors * tile.unroll_length + 1
                    : in_dot_form
                        ? std::min(tile.unroll_length, tile.unroll2_length) + 1
                        : vectors * std::max<std::int64_t>(std::min(tile.chains, 2), block) + 1;
  return static_cast<int>(sums + held);
}

}  // namespace einjit
