#pragma once
// Tars (POSIX 1003.1-2001, pax), one file after another: written to and read from anything that bytes can go
// to or come from. libarchive stays behind this header. What is read is of plain files only, and is not to be
// believed. One thread at a time.

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/bytes.h"

namespace dupengine::image {

class TarWriter {
  public:
    /// Where the tar goes, in order. May throw.
    using Append = std::function<void(std::span<const std::byte>)>;
    /// `modified`: Unix seconds, of every file in it.
    TarWriter(Append append, std::int64_t modified);
    /// Given up before finish(): no end of an archive is written, so that it is not taken for a whole one.
    ~TarWriter();
    TarWriter(const TarWriter&) = delete;
    TarWriter& operator=(const TarWriter&) = delete;

    /// Throws what `append` throws.
    void begin(const std::string& file, std::uint64_t size_bytes);
    /// Of the file begun last, just as many bytes as was said.
    void append(std::span<const std::byte> bytes);
    void add(const std::string& file, std::span<const std::byte> content);
    void finish();

  private:
    struct State;
    std::unique_ptr<State> state_;
};

class TarScanner {
  public:
    struct Source {
        /// The next bytes, good until the next call; empty at the end.
        std::function<std::span<const std::byte>()> read;
        /// Passes over bytes without reading them. Empty: it cannot.
        std::function<void(std::uint64_t)> skip;
    };
    struct Entry {
        std::string file;
        std::uint64_t size_bytes = 0;
        ByteOffset offset = 0;  ///< of its content in the tar
    };
    /// `name` is for messages. Throws kIntegrity if it is no tar.
    TarScanner(Source source, std::string name);
    ~TarScanner();
    TarScanner(const TarScanner&) = delete;
    TarScanner& operator=(const TarScanner&) = delete;

    /// The next file; empty when the end of the archive was seen. Throws kIntegrity for what is no plain
    /// file, damaged or cut off; what the source throws.
    std::optional<Entry> next();
    /// The next bytes of the file that was found last. Throws as next.
    void read(std::span<std::byte> buffer);

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace dupengine::image
