#include "wire/tls_stream.h"

#include <algorithm>
#include <cstring>

namespace dupengine::wire {
namespace {

using std::chrono::milliseconds;

// As much as goes to the transport at once: fewer system calls, and still in the processor's cache.
constexpr std::size_t kPlainBytes = 128 * kKiB;
constexpr std::size_t kArrivedBytes = 256 * kKiB;
// Records of kPlainBytes, and what TLS adds to them, with room for alerts and key updates.
constexpr std::size_t kWrittenLimit = kPlainBytes + 16 * kKiB;
// What a handshake with certificates takes is a tenth of it.
constexpr std::uint64_t kHandshakeLimit = 64 * kKiB;
// Who waits for somebody else to send an alert or an end waits no longer than that.
constexpr milliseconds kLastWords{1000};

struct FreeMethod {
    void operator()(BIO_METHOD* method) const { BIO_meth_free(method); }
};

struct KnownReason {
    int reason;
    Code code;
    const char* text;
};
// Alerts that the other side sent are numbered from 1000 (SSL_AD_REASON_OFFSET).
constexpr KnownReason kReasons[] = {
    {SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, Code::kAuthenticity,
     "the other side shows no certificate: it is not enrolled"},
    {SSL_R_HTTP_REQUEST, Code::kPeer, "the other side speaks HTTP"},
    {SSL_R_WRONG_VERSION_NUMBER, Code::kPeer, "the other side does not speak TLS 1.3"},
    {SSL_R_UNSUPPORTED_PROTOCOL, Code::kPeer, "the other side does not speak TLS 1.3"},
    {SSL_R_NO_APPLICATION_PROTOCOL, Code::kPeer,
     "the other side speaks another protocol, or another version of it"},
    {SSL_AD_REASON_OFFSET + SSL_AD_NO_APPLICATION_PROTOCOL, Code::kPeer,
     "the other side speaks another protocol, or another version of it"},
    {SSL_AD_REASON_OFFSET + SSL_AD_PROTOCOL_VERSION, Code::kPeer, "the other side does not speak TLS 1.3"},
    {SSL_AD_REASON_OFFSET + SSL_AD_HANDSHAKE_FAILURE, Code::kAuthenticity,
     "the other side does not take what we prove ourselves with"},
    {SSL_AD_REASON_OFFSET + SSL_AD_DECRYPT_ERROR, Code::kAuthenticity,
     "the other side does not take what we prove ourselves with"},
    {SSL_AD_REASON_OFFSET + SSL_AD_ILLEGAL_PARAMETER, Code::kPeer,
     "the other side does not understand what we sent"},
    {SSL_AD_REASON_OFFSET + SSL_AD_UNKNOWN_CA, Code::kAuthenticity,
     "the other side does not take our certificate: it was enrolled by another authority"},
    {SSL_AD_REASON_OFFSET + SSL_AD_CERTIFICATE_EXPIRED, Code::kAuthenticity,
     "the other side does not take our certificate: it has expired, by its clock"},
    {SSL_AD_REASON_OFFSET + SSL_AD_CERTIFICATE_REVOKED, Code::kAuthenticity,
     "the other side does not take our certificate: it was revoked"},
    {SSL_AD_REASON_OFFSET + SSL_AD_BAD_CERTIFICATE, Code::kAuthenticity,
     "the other side does not take our certificate: it does not hold there, or not at its time"},
    {SSL_AD_REASON_OFFSET + SSL_AD_UNSUPPORTED_CERTIFICATE, Code::kAuthenticity,
     "the other side does not take our certificate: it is for another use"},
    {SSL_AD_REASON_OFFSET + SSL_AD_CERTIFICATE_UNKNOWN, Code::kAuthenticity,
     "the other side does not take our certificate"},
    {SSL_AD_REASON_OFFSET + SSL_AD_CERTIFICATE_REQUIRED, Code::kAuthenticity,
     "the other side wants a certificate, and we showed none"},
};

// Why the other side's certificate was not taken.
[[noreturn]] void throw_not_taken(const std::string& name, long result) {
    const char* why = X509_verify_cert_error_string(result);
    switch (result) {
        case X509_V_ERR_CERT_HAS_EXPIRED:
            why = "it has expired, by our clock";
            break;
        case X509_V_ERR_CERT_NOT_YET_VALID:
            why = "it is not valid yet, by our clock";
            break;
        case X509_V_ERR_CRL_NOT_YET_VALID:
            throw_error(Code::kAuthenticity,
                        "{}: the list of what was revoked is of a time that has not come yet by our clock: "
                        "set the clock",
                        name);
        case X509_V_ERR_CERT_REVOKED:
            why = "it was revoked";
            break;
        case X509_V_ERR_INVALID_PURPOSE:
            why = "it is for another use";
            break;
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
        case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        case X509_V_ERR_CERT_SIGNATURE_FAILURE:
            why = "it was enrolled by another authority";
            break;
        default:
            break;
    }
    throw_error(Code::kAuthenticity, "{}: the certificate of the other side is not taken: {}", name, why);
}

}  // namespace

// OpenSSL's end of the stream: it takes what has arrived, and leaves what it wrote. It never waits.
struct StreamBio {
    static TlsStream& stream_of(BIO* bio) { return *static_cast<TlsStream*>(BIO_get_data(bio)); }

    static int read(BIO* bio, char* buffer, std::size_t size, std::size_t* done) {
        TlsStream& stream = stream_of(bio);
        BIO_clear_retry_flags(bio);
        *done = std::min(size, stream.arrived_end_ - stream.arrived_begin_);
        if (*done == 0) {
            BIO_set_retry_read(bio);
            return 0;
        }
        std::memcpy(buffer, stream.arrived_.data() + stream.arrived_begin_, *done);
        stream.arrived_begin_ += *done;
        return 1;
    }

    static int write(BIO* bio, const char* bytes, std::size_t size, std::size_t* done) {
        TlsStream& stream = stream_of(bio);
        BIO_clear_retry_flags(bio);
        *done = 0;
        if (size > kWrittenLimit - std::min(kWrittenLimit, stream.written_.size())) return 0;
        const auto* const first = reinterpret_cast<const std::byte*>(bytes);
        stream.written_.insert(stream.written_.end(), first, first + size);
        *done = size;
        return 1;
    }

    static long control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

    static const BIO_METHOD* method() {
        static const std::unique_ptr<BIO_METHOD, FreeMethod> kMethod = [] {
            std::unique_ptr<BIO_METHOD, FreeMethod> made(
                BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "transport"));
            must(made != nullptr && BIO_meth_set_read_ex(made.get(), read) == 1 &&
                     BIO_meth_set_write_ex(made.get(), write) == 1 &&
                     BIO_meth_set_ctrl(made.get(), control) == 1,
                 "a BIO");
            return made;
        }();
        return kMethod.get();
    }
};

TlsStream::TlsStream(std::unique_ptr<Transport> transport, SSL_CTX& context, TlsRole role)
    : transport_(std::move(transport)), ssl_(SSL_new(&context)), arrived_(kArrivedBytes) {
    must(ssl_ != nullptr, "a TLS connection");
    written_.reserve(kWrittenLimit);
    leaving_.reserve(kWrittenLimit);
    BIO* const bio = BIO_new(StreamBio::method());
    must(bio != nullptr, "a BIO");
    BIO_set_data(bio, this);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl_.get(), bio, bio);  // owns it now
    role == TlsRole::kConnects ? SSL_set_connect_state(ssl_.get()) : SSL_set_accept_state(ssl_.get());
}

TlsStream::~TlsStream() {
    transport_->close();
}

void TlsStream::handshake(Deadline deadline, std::string_view alpn) {
    try {
        step_handshake(deadline);
        const unsigned char* chosen = nullptr;
        unsigned int size = 0;
        SSL_get0_alpn_selected(ssl_.get(), &chosen, &size);
        if (std::string_view(reinterpret_cast<const char*>(chosen), size) != alpn)
            throw_error(Code::kPeer, "{}: the other side does not name the protocol {}", name(), alpn);
    } catch (...) {
        close();
        throw;
    }
}

void TlsStream::step_handshake(Deadline deadline) {
    for (;;) {
        ERR_clear_error();
        const int result = SSL_do_handshake(ssl_.get());
        const int error = SSL_get_error(ssl_.get(), result);
        if (result != 1 && error != SSL_ERROR_WANT_READ) fail(error);
        flush(deadline);
        if (result == 1) return;
        if (received_ > kHandshakeLimit)
            throw_error(Code::kPeer, "{}: the other side sends more than any handshake needs", name());
        if (!fill(deadline))
            throw_error(Code::kPeer, "{}: the other side went away during the handshake", name());
    }
}

// Waits for bytes of the transport. False at its end.
bool TlsStream::fill(Deadline deadline) {
    arrived_begin_ = 0;
    arrived_end_ = transport_->receive(arrived_, deadline);
    received_ += arrived_end_;
    return arrived_end_ != 0;
}

// Gives the transport all that OpenSSL has written.
void TlsStream::flush(Deadline deadline) {
    const std::lock_guard turn(sending_);
    flush_in_turn(deadline);
}

void TlsStream::flush_in_turn(Deadline deadline) {
    for (;;) {
        leaving_.clear();
        {
            const std::lock_guard lock(ssl_mutex_);
            std::swap(leaving_, written_);
        }
        if (leaving_.empty()) return;
        transport_->send(leaving_, deadline);
        sent_ += leaving_.size();
    }
}

// For the receiver: an alert is worth a try, but must not wait behind a sender that waits itself.
void TlsStream::flush_if_idle() noexcept {
    const std::unique_lock turn(sending_, std::try_to_lock);
    if (!turn.owns_lock()) return;
    try {
        flush_in_turn(after(kLastWords));
    } catch (const std::exception&) {
        // The connection is given up, and its first error is told.
    }
}

void TlsStream::encrypt(std::span<const std::byte> bytes) {
    const std::lock_guard lock(ssl_mutex_);
    ERR_clear_error();
    if (under_this_key_ >= key_update_bytes_) {
        must(SSL_key_update(ssl_.get(), SSL_KEY_UPDATE_NOT_REQUESTED) == 1, "a new key");
        under_this_key_ = 0;
    }
    std::size_t done = 0;
    if (SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &done) != 1 || done != bytes.size())
        throw_error(Code::kPeer, "{}: the connection is over: {}", name(), openssl_reason());
    under_this_key_ += bytes.size();
}

void TlsStream::send(std::span<const std::byte> bytes, Deadline deadline) {
    while (!bytes.empty()) {
        const std::size_t count = std::min(bytes.size(), kPlainBytes);
        encrypt(bytes.first(count));
        flush(deadline);
        bytes = bytes.subspan(count);
    }
}

// All records that are here: one call of OpenSSL gives one.
int TlsStream::decrypt(std::span<std::byte> buffer, std::size_t& total) {
    const std::lock_guard lock(ssl_mutex_);
    int error = SSL_ERROR_NONE;
    while (total < buffer.size() && error == SSL_ERROR_NONE) {
        std::size_t done = 0;
        ERR_clear_error();
        const int result = SSL_read_ex(ssl_.get(), buffer.data() + total, buffer.size() - total, &done);
        if (result != 1) error = SSL_get_error(ssl_.get(), result);
        total += done;
    }
    return error;
}

std::size_t TlsStream::receive(std::span<std::byte> buffer, Deadline deadline) {
    for (;;) {
        std::size_t total = 0;
        const int error = decrypt(buffer, total);
        if (total != 0 || error == SSL_ERROR_ZERO_RETURN) return total;
        if (error != SSL_ERROR_WANT_READ) fail(error);
        if (std::chrono::steady_clock::now() >= deadline)
            throw_error(Code::kPeer, "{}: nothing whole came in time", name());
        if (!fill(deadline))
            throw_error(Code::kPeer, "{}: the connection was cut: its end was not announced", name());
    }
}

void TlsStream::finish(Deadline deadline) {
    {
        const std::lock_guard lock(ssl_mutex_);
        ERR_clear_error();
        static_cast<void>(SSL_shutdown(ssl_.get()));
    }
    flush(deadline);
    Bytes rest(16 * kKiB);
    while (receive(rest, deadline) != 0)
        if (std::chrono::steady_clock::now() >= deadline)
            throw_error(Code::kPeer, "{}: the other side does not come to an end", name());
    close();
}

void TlsStream::send_block(std::string_view text, Deadline deadline) {
    Bytes message(4 + text.size());
    store_le<std::uint32_t>(message, 0, static_cast<std::uint32_t>(text.size()));
    std::memcpy(message.data() + 4, text.data(), text.size());
    send(message, deadline);
}

std::string TlsStream::receive_block(std::size_t limit, Deadline deadline) {
    const auto receive_all = [&](std::span<std::byte> buffer) {
        while (!buffer.empty()) {
            const std::size_t bytes = receive(buffer, deadline);
            if (bytes == 0) throw_error(Code::kPeer, "{}: the other side ended too early", name());
            buffer = buffer.subspan(bytes);
        }
    };
    Bytes size(4);
    receive_all(size);
    const auto count = load_le<std::uint32_t>(size, 0);
    if (count > limit)
        throw_error(Code::kPeer, "{}: the other side announces {} bytes where {} are the most", name(), count,
                    limit);
    std::string text(count, '\0');
    receive_all(std::as_writable_bytes(std::span(text)));
    return text;
}

void TlsStream::fail(int ssl_error) {
    const unsigned long error = ERR_peek_error();
    const int reason = ERR_GET_REASON(error);
    const long verified = [&] {
        const std::lock_guard lock(ssl_mutex_);
        return SSL_get_verify_result(ssl_.get());
    }();
    flush_if_idle();
    if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
        ERR_clear_error();
        throw_not_taken(name(), verified);
    }
    const auto* const known = std::ranges::find(kReasons, reason, &KnownReason::reason);
    if (known != std::end(kReasons)) {
        ERR_clear_error();
        throw_error(known->code, "{}: {}", name(), known->text);
    }
    throw_error(Code::kPeer, "{}: the other side does not keep to TLS 1.3: {}", name(),
                ssl_error == SSL_ERROR_SSL ? openssl_reason() : "unexpected end");
}

}  // namespace dupengine::wire
