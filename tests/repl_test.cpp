// The well-known einsum tutorials, typed into the REPL.
#include "cli/repl/repl.hpp"

#include <gtest/gtest.h>

#include <cstdio>

namespace einjit {
namespace {

// Runs lines; the last one's output.
std::string run(Repl& repl, std::initializer_list<const char*> lines) {
  std::string out;
  for (const char* line : lines) out = repl.execute(line);
  return out;
}
std::string run(std::initializer_list<const char*> lines) {
  Repl repl;
  return run(repl, lines);
}
std::string error_of(std::initializer_list<const char*> lines) {
  try {
    run(lines);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

constexpr const char* kSetUp[] = {"A = [[1, 2, 3], [4, 5, 6]]", "B = [[1, 0], [0, 1], [1, 1]]",
                                  "S = [[1, 2], [3, 4]]", "v = [1, 2, 3]", "w = [10, 20]"};

std::string with_set_up(const char* line) {
  Repl repl;
  for (const char* each : kSetUp) repl.execute(each);
  return repl.execute(line);
}

TEST(Tutorial, TheBasics) {
  EXPECT_EQ(with_set_up("ij,jk->ik A B"), "[[4, 5],\n [10, 11]]  (2, 2) f64\n");
  EXPECT_EQ(with_set_up("ij,jk A B"), "[[4, 5],\n [10, 11]]  (2, 2) f64\n");
  EXPECT_EQ(with_set_up("ij->ji A"), "[[1, 4],\n [2, 5],\n [3, 6]]  (3, 2) f64\n");
  EXPECT_EQ(with_set_up("ij-> A"), "21  () f64\n");
  EXPECT_EQ(with_set_up("ij->i A"), "[6, 15]  (2) f64\n");
  EXPECT_EQ(with_set_up("ij->j A"), "[5, 7, 9]  (3) f64\n");
  EXPECT_EQ(with_set_up("ii-> S"), "5  () f64\n");
  EXPECT_EQ(with_set_up("ii S"), "5  () f64\n");
  EXPECT_EQ(with_set_up("ii->i S"), "[1, 4]  (2) f64\n");
  EXPECT_EQ(with_set_up("i,i-> v v"), "14  () f64\n");
  EXPECT_EQ(with_set_up("i,j->ij v w"), "[[10, 20],\n [20, 40],\n [30, 60]]  (3, 2) f64\n");
  EXPECT_EQ(with_set_up("i,j->ji v w"), "[[10, 20, 30],\n [20, 40, 60]]  (2, 3) f64\n");
  EXPECT_EQ(with_set_up("ij,ij->ij A A"), "[[1, 4, 9],\n [16, 25, 36]]  (2, 3) f64\n");
  EXPECT_EQ(with_set_up("ij,ij-> A A"), "91  () f64\n");
  EXPECT_EQ(with_set_up("ij,j->i A v"), "[14, 32]  (2) f64\n");
  EXPECT_EQ(with_set_up("ij,kj->ik A A"), "[[14, 32],\n [32, 77]]  (2, 2) f64\n");
  EXPECT_EQ(with_set_up("i,ij,j-> w A v"), "780  () f64\n");
}

TEST(Tutorial, OuterProductOfThreeVectors) {
  EXPECT_EQ(run({"a = [1, 2]", "b = [1, 10]", "c = [1, 100]", "i,j,k->kji a b c"}),
            "[[[1, 2],\n  [10, 20]],\n [[100, 200],\n  [1000, 2000]]]  (2, 2, 2) f64\n");
}

TEST(Tutorial, BatchedProducts) {
  EXPECT_EQ(run({"X = rand(3, 4, 5)", "Y = rand(3, 5, 6)", "Z = bij,bjk->bik X Y",
                 "Z1 = ij,jk->ik X[1] Y[1]", "allclose(Z[1], Z1)"}),
            "true\n");
  EXPECT_EQ(run({"X = rand(3, 4, 5)", "Y = rand(3, 5, 6)", "Z = bij,bjk->bik X Y",
                 "W = ...ij,...jk->...ik X Y", "allclose(Z, W)"}),
            "true\n");
  EXPECT_EQ(run({"N = rand(6, 8)", "K = rand(6, 5, 8)", "R = ne,nke->nk N K",
                 "R2 = e,ke->k N[2] K[2]", "allclose(R[2], R2)"}),
            "true\n");
  EXPECT_EQ(run({"A = rand(3, 4)", "B = rand(5, 4, 6)", "C = rand(3, 6)", "X = ik,jkl,il->ij A B C",
                 "T = ik,jkl->ijl A B", "Y = ijl,il->ij T C", "allclose(X, Y)"}),
            "true\n");
}

TEST(Tutorial, AttentionScoresTwoWays) {
  EXPECT_EQ(
      run({"Q = rand(2, 5, 4, 8)", "K = rand(2, 5, 4, 8)", "S = b h i d , b h j d -> b h i j Q K",
           "T = bimd,bind->bimn Q K", "allclose(S, T)"}),
      "true\n");
  EXPECT_EQ(run({"Q = rand(2, 3, 4, 8)", "K = rand(2, 3, 5, 8)", "S = 0.25 * bhid,bhjd->bhij Q K",
                 "S.shape"}),
            "(2, 3, 4, 5)\n");
}

// Projections, heads by reshape, scaled scores, softmax, values, output projection.
TEST(Tutorial, TheWholeAttentionBlock) {
  Repl repl;
  const std::string close = run(
      repl,
      {"X = rand(2, 6, 16)", "Wq = rand(16, 16)", "Wk = rand(16, 16)", "Wv = rand(16, 16)",
       "Wo = rand(16, 16)", "Q = bnd,de->bne X Wq", "K = bnd,de->bne X Wk", "V = bnd,de->bne X Wv",
       "Q = transpose(reshape(Q, 2, 6, 4, 4), 0, 2, 1, 3)",
       "K = transpose(reshape(K, 2, 6, 4, 4), 0, 2, 1, 3)",
       "V = transpose(reshape(V, 2, 6, 4, 4), 0, 2, 1, 3)", "S = 0.5 * bhid,bhjd->bhij Q K",
       "P = softmax(S, -1)", "O = bhij,bhjd->bhid P V",
       "O = reshape(transpose(O, 0, 2, 1, 3), 2, 6, 16)", "Y = bnd,de->bne O Wo",
       // The same with the heads as labels of the weights.
       "Wqh = reshape(Wq, 16, 4, 4)", "Wkh = reshape(Wk, 16, 4, 4)", "Wvh = reshape(Wv, 16, 4, 4)",
       "Woh = reshape(Wo, 4, 4, 16)", "Qh = bnd,dhe->bhne X Wqh", "Kh = bnd,dhe->bhne X Wkh",
       "Vh = bnd,dhe->bhne X Wvh", "Sh = 0.5 * bhie,bhje->bhij Qh Kh", "Ph = softmax(Sh, 3)",
       "Yh = bhij,bhje,hed->bid Ph Vh Woh", "allclose(Y, Yh)"});
  EXPECT_EQ(close, "true\n");
  EXPECT_EQ(run(repl, {"R = bhij->bhi P", "allclose(R, ones(2, 4, 6))"}), "true\n");
}

TEST(Tutorial, ConvolutionOverAWindowAndItsGradient) {
  EXPECT_EQ(run({"X = reshape(arange(16), 4, 4)", "W = sliding_window(X, 3, 3)",
                 "xyij,ij->xy W [[0,0,0],[0,1,0],[0,0,0]]"}),
            "[[5, 6],\n [9, 10]]  (2, 2) f64\n");
  // d(loss)/d(weights) of a convolution: windows of the input against the output's gradient.
  EXPECT_EQ(
      run({"X = rand(2, 3, 6, 6)", "W = as_strided(X, [2, 3, 3, 3, 4, 4], [108, 36, 6, 1, 6, 1])",
           "G = rand(2, 5, 4, 4)", "D = nijkde,node->oijk W G", "D.shape"}),
      "(5, 3, 3, 3)\n");
}

TEST(Tutorial, TheBeginnersMistake) {
  EXPECT_EQ(
      error_of({"A = rand(4, 5)", "i->i A"}),
      "error: operand 0 has 2 axes (shape 4x5) but its term names 1 and has no '...'\n  i->i\n  ^");
}

TEST(Repl, Mistakes) {
  EXPECT_NE(error_of({"C = ij,jk->ik A B"}).find("there is no tensor 'A'"), std::string::npos);
  EXPECT_NE(error_of({"A = rand(2, 2)", "ij,jk->ik A"}), "no error");
  EXPECT_NE(error_of({"frob(3)"}).find("is no function"), std::string::npos);
  EXPECT_NE(error_of({":frob"}).find("is no command"), std::string::npos);
  EXPECT_NE(error_of({"A = [[1, 2], [3]]"}).find("different lengths"), std::string::npos);
  EXPECT_NE(error_of({"A = rand(3)", "A[3]"}).find("index 3"), std::string::npos);
  EXPECT_NE(error_of({"A = rand(3)", "as_strided(A, [4], [1])"}).find("leaves the tensor"),
            std::string::npos);
  EXPECT_NE(error_of({"A = rand(-1)"}), "no error");
  EXPECT_NE(error_of({"A = rand(1000000, 1000000)"}), "no error");
  EXPECT_NE(error_of({"load(\"/no/such.npy\")"}), "no error");
  EXPECT_NE(error_of({":time"}), "no error");
  EXPECT_NE(error_of({"A = "}), "no error");
  EXPECT_NE(error_of({"("}), "no error");
  EXPECT_NE(error_of({"->"}), "no error");
  EXPECT_NE(error_of({"A = rand(2)", "->A"}), "no error");
  EXPECT_NE(error_of({std::string(100000, '[').c_str()}), "no error");
  std::string twice;
  for (int i = 0; i < 20000; ++i) twice += "2*";
  EXPECT_NE(error_of({(twice + "3").c_str()}), "no error");
  EXPECT_NE(error_of({"B = reshape(ones(1), 274177, 67280421310721)"}), "no error");
  EXPECT_NE(error_of({"A = rand(2)", "transpose(A, 1, 0)"}), "no error");
}

TEST(Repl, SchedulesAreShownEditedAndReset) {
  Repl repl;
  run(repl, {"A = randint(0, 5, 40, 30)", "B = randint(0, 5, 30, 20)", "C = ij,jk->ik A B"});
  const std::string chosen = repl.execute(":schedule");
  EXPECT_NE(chosen.find("tile"), std::string::npos);
  run(repl, {":schedule edit loop k 8; loop i 2; tile k vec 8, i unroll 2, j reduce",
             "D = ij,jk->ik A B"});
  EXPECT_EQ(repl.execute("allclose(C, D)"), "true\n");
  EXPECT_EQ(repl.execute(":schedule"), "loop k 8; loop i 2; tile k vec 8, i unroll 2, j reduce\n");
  EXPECT_NE(repl.execute(":emit loops").find("for k step 8"), std::string::npos);
  repl.execute(":schedule reset");
  EXPECT_EQ(repl.execute(":schedule"), chosen);
  EXPECT_NE(repl.execute(":time").find(" us "), std::string::npos);
  EXPECT_NE(repl.execute(":cache").find("kernels"), std::string::npos);
  EXPECT_NE(repl.execute(":help").find(":emit"), std::string::npos);
}

TEST(Repl, FilesAndTypes) {
  Repl repl;
  const std::string file = testing::TempDir() + "/einjit_repl.npy";
  run(repl, {"A = rand(3, 4)", ("save(\"" + file + "\", transpose(A))").c_str(),
             ("B = load(\"" + file + "\")").c_str()});
  EXPECT_EQ(repl.execute("allclose(transpose(A), B)"), "true\n");
  EXPECT_EQ(run(repl, {":dtype f32", "C = rand(2)"}), "C: (2) f32\n");
  EXPECT_EQ(repl.execute("D = f64(C)"), "D: (2) f64\n");
  std::remove(file.c_str());
}

}  // namespace
}  // namespace einjit
