#pragma once
// The words of a signature (dupengine-formats(5), "The signature"), shared by signing, checking and efi/.
// Needs no library behind it.

#include <cstddef>

namespace dupengine::image::signature_words {

inline constexpr char kFirstLine[] = "dupengine signature 1\n";
inline constexpr char kKeyWord[] = "key ";
inline constexpr char kEd25519Word[] = "ed25519 ";
/// In a profile each line stands behind this, so that it is a comment.
inline constexpr char kCommentPrefix[] = "# ";

/// What is signed begins with one of these, so that a signature of one kind of thing can be none of another.
/// A manifest follows whole, of boot files and profiles the SHA-256.
inline constexpr char kOfManifest[] = "dupengine image manifest 1\n";
inline constexpr char kOfBootFile[] = "dupengine boot file 1\n";
inline constexpr char kOfProfile[] = "dupengine profile 1\n";

/// Of a file that firmware starts the signature is in the file of this name behind its own.
inline constexpr char kFileSuffix[] = ".sig";

inline constexpr std::size_t kPublicBytes = 32, kSignatureBytes = 64;
/// A key is named by its SHA-256, in hexadecimal digits.
inline constexpr std::size_t kKeyDigits = 64, kSignatureDigits = 128;

/// Of a whole signature as it stands in a file, and at the end of a profile.
inline constexpr std::size_t kFileBytes = sizeof kFirstLine - 1 + sizeof kKeyWord - 1 + kKeyDigits + 1 +
                                          sizeof kEd25519Word - 1 + kSignatureDigits + 1;
inline constexpr std::size_t kProfileBytes = kFileBytes + 3 * (sizeof kCommentPrefix - 1);

}  // namespace dupengine::image::signature_words
