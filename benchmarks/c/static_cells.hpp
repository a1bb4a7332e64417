// GRU and LSTM of sizes that the compiler knows, on Eigen: the kind of kernel that RTNeural has, for the benchmark.
#include <Eigen/Dense>

template <int F, int U, int G> struct Weights {
    Eigen::Matrix<float, G * U, F> kernel;
    Eigen::Matrix<float, G * U, U> recurrent;
    Eigen::Matrix<float, G * U, 1> bias, recurrent_bias;
    // From arrays in the order of Keras: kernels (F, GU) and (U, GU), row by row.
    Weights(const float *k, const float *r, const float *b, const float *rb)
        : kernel(Eigen::Map<const Eigen::Matrix<float, G * U, F>>(k)),
          recurrent(Eigen::Map<const Eigen::Matrix<float, G * U, U>>(r)),
          bias(Eigen::Map<const Eigen::Matrix<float, G * U, 1>>(b)) {
        recurrent_bias.setZero();
        if (rb != nullptr) recurrent_bias = Eigen::Map<const Eigen::Matrix<float, G * U, 1>>(rb);
    }
};

template <int F, int U> void gru(const Weights<F, U, 3> &w, const float *x, size_t T, float *y) {
    Eigen::Matrix<float, U, 1> h;
    Eigen::Matrix<float, 3 * U, 1> from_x, from_h;
    h.setZero();
    for (size_t t = 0; t < T; t++) {
        from_x = w.bias;
        from_x.noalias() += w.kernel * Eigen::Map<const Eigen::Matrix<float, F, 1>>(x + t * F);
        from_h = w.recurrent_bias;
        from_h.noalias() += w.recurrent * h;
        auto z = (from_x.template head<U>() + from_h.template head<U>()).array().logistic().eval();
        auto r = (from_x.template segment<U>(U) + from_h.template segment<U>(U)).array().logistic().eval();
        auto n = (from_x.template tail<U>().array() + r * from_h.template tail<U>().array()).tanh().eval();
        h = (z * h.array() + (1.0f - z) * n).matrix();
        Eigen::Map<Eigen::Matrix<float, U, 1>>(y + t * U) = h;
    }
}

template <int F, int U> void lstm(const Weights<F, U, 4> &w, const float *x, size_t T, float *y) {
    Eigen::Matrix<float, U, 1> h, c;
    Eigen::Matrix<float, 4 * U, 1> gates;
    h.setZero();
    c.setZero();
    for (size_t t = 0; t < T; t++) {
        gates = w.bias;
        gates.noalias() += w.kernel * Eigen::Map<const Eigen::Matrix<float, F, 1>>(x + t * F);
        gates.noalias() += w.recurrent * h;
        auto i = gates.template head<U>().array().logistic().eval();
        auto f = gates.template segment<U>(U).array().logistic().eval();
        auto n = gates.template segment<U>(2 * U).array().tanh().eval();
        auto o = gates.template tail<U>().array().logistic().eval();
        c = (f * c.array() + i * n).matrix();
        h = (o * c.array().tanh()).matrix();
        Eigen::Map<Eigen::Matrix<float, U, 1>>(y + t * U) = h;
    }
}
