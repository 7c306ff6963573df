#include "profiles/signed_text.h"

#include <fmt/format.h>

#include "codec/digest.h"
#include "profiles/slots.h"

namespace dupengine::profiles {
namespace words = image::signature_words;

std::string without_signature(const std::string& text) {
    if (text.size() < words::kProfileBytes) return text;
    const std::size_t end = text.size() - words::kProfileBytes;
    const std::string first_line = std::string(words::kCommentPrefix) + words::kFirstLine;
    return text.compare(end, first_line.size(), first_line) == 0 ? text.substr(0, end) : text;
}

std::string with_signature(const std::string& text, const image::SigningKey& key, const std::string& file) {
    std::string body = without_signature(text);
    if (!body.ends_with('\n')) body += '\n';
    const std::string signature = key.sign(codec::sha256(as_bytes(body)), words::kOfProfile);
    std::size_t begin = 0;
    while (begin < signature.size()) {
        const std::size_t end = signature.find('\n', begin) + 1;
        body += words::kCommentPrefix + signature.substr(begin, end - begin);
        begin = end;
    }
    if (body.size() > kProfileTextLimit)
        throw_error(Code::kUsage, "{}: with its signature it is more than a profile store holds", file);
    return body;
}

}  // namespace dupengine::profiles
