#include "cli/inspection.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "tests/support/fake_devices.h"

namespace dupengine::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;

layout::PartitionDescription partition(unsigned number, block::Extent extent, const Guid& type,
                                       const std::string& name) {
    layout::PartitionDescription described;
    described.partition.number = number;
    described.partition.extent = extent;
    described.partition.type_guid = type;
    described.partition.guid = Guid::parse(fmt::format("00000000-0000-4000-8000-{:012}", number));
    described.partition.name = name;
    described.used.whole = true;
    described.used.reason = "no known filesystem";
    return described;
}

// 1 GiB: EFI, a root that is mounted and half full, a profile, free space.
Inspection golden_disk() {
    Inspection inspection;
    layout::DiskDescription& disk = inspection.disk;
    disk.name = "/dev/sdx";
    disk.geometry = {kGiB, 512, 4096, true, false};
    disk.table.kind = layout::TableKind::kGpt;
    disk.table.disk_guid = Guid::parse("01234567-89ab-4def-8123-456789abcdef");
    auto efi = partition(1, {kMiB, 101 * kMiB}, layout::type_guid::kEfiSystem, "esp");
    efi.signature = layout::Signature{"vfat", "filesystem", "ABCD-1234", "EFI", "FAT32"};
    efi.used = {};
    efi.used.used = {{0, 10 * kMiB}};
    auto root = partition(2, {101 * kMiB, 701 * kMiB}, layout::type_guid::kLinuxData, "root");
    root.signature =
        layout::Signature{"ext4", "filesystem", "11111111-2222-4333-8444-555555555555", "rootfs", "1.0"};
    root.used = {};
    root.used.used = {{0, 300 * kMiB}};
    const auto profile =
        partition(128, {1019 * kMiB, 1023 * kMiB}, layout::type_guid::kProfile, "dupengine-profile");
    disk.partitions = {efi, root, profile};
    for (const auto& described : disk.partitions)
        disk.table.partitions.push_back(described.partition);
    inspection.uses = {
        {layout::Use::Kind::kMounted, "/dev/sdx2", "mounted on /srv: umount /srv", root.partition.extent}};
    return inspection;
}

TEST(Inspection, ADiskAsAPersonSeesIt) {
    EXPECT_EQ(inspection_text(golden_disk(), {100, Charset::kUtf8, false}),
              "/dev/sdx: 1 GiB, sectors of 512 bytes, GPT 01234567-89ab-4def-8123-456789abcdef\n"
              "┌─────────┬──────────────────────────────────────────────────────┬────────────────────────────"
              "─┬───┐\n"
              "│1 EFI    │2 rootfs                                              │free                        "
              " │128│\n"
              "│vfat 10 %│ext4 50 %                                             │                            "
              " │pro│\n"
              "│█░░░░░░░░│███████████████████████████░░░░░░░░░░░░░░░░░░░░░░░░░░░│                            "
              " │▒▒▒│\n"
              "└─────────┴──────────────────────────────────────────────────────┴────────────────────────────"
              "─┴───┘\n"
              "  #     size     used        filesystem  label   PARTLABEL          type\n"
              "  1  100 MiB   10 MiB  10 %  vfat        EFI     esp                EFI system\n"
              "    UUID ABCD-1234\n"
              "  2  600 MiB  300 MiB  50 %  ext4        rootfs  root               Linux filesystem\n"
              "    UUID 11111111-2222-4333-8444-555555555555\n"
              "    in use: /dev/sdx2: mounted on /srv: umount /srv\n"
              "128    4 MiB     kept                            dupengine-profile  dupengine profile\n"
              "    protected (profile): no copy writes here\n");
}

TEST(Inspection, OnAWideTerminalTheUuidStandsInTheTable) {
    const auto text = inspection_text(golden_disk(), {160, Charset::kAscii, false});
    EXPECT_THAT(text, HasSubstr("rootfs  11111111-2222-4333-8444-555555555555  root"));
    EXPECT_THAT(text, Not(HasSubstr("    UUID")));
}

TEST(Inspection, JsonHasExactBytesAndWhoUsesWhat) {
    const Json document = Json::parse(inspection_json(golden_disk()));
    EXPECT_EQ(document["result"], "described");
    EXPECT_EQ(document["size_bytes"], kGiB);
    EXPECT_EQ(document["sector_bytes"], 512);
    EXPECT_EQ(document["table"]["kind"], "gpt");
    EXPECT_EQ(document["table"]["guid"], "01234567-89ab-4def-8123-456789abcdef");
    ASSERT_EQ(document["partitions"].size(), 3u);
    const Json& root = document["partitions"][1];
    EXPECT_EQ(root["number"], 2);
    EXPECT_EQ(root["begin"], 101 * kMiB);
    EXPECT_EQ(root["used"]["bytes"], 300 * kMiB);
    EXPECT_EQ(root["filesystem"]["uuid"], "11111111-2222-4333-8444-555555555555");
    EXPECT_EQ(root["uses"][0]["device"], "/dev/sdx2");
    EXPECT_EQ(root["uses"][0]["kind"], "mounted");
    EXPECT_TRUE(root["protected"].is_null());
    EXPECT_EQ(document["partitions"][2]["protected"], "profile");
    EXPECT_TRUE(document["partitions"][2]["filesystem"].is_null());
    EXPECT_TRUE(document["incomplete"].is_null());
    EXPECT_TRUE(document["error"].is_null());
    EXPECT_EQ(document["problems"], Json::array());
    EXPECT_EQ(document["uses"].size(), 1u);
}

TEST(Inspection, JsonHasTheSameKeysForAnEmptyDisk) {
    Inspection empty;
    const Json full = Json::parse(inspection_json(golden_disk())), bare = Json::parse(inspection_json(empty));
    for (const auto& [key, value] : full.items())
        EXPECT_TRUE(bare.contains(key)) << key;
    for (const auto& [key, value] : full["table"].items())
        EXPECT_TRUE(bare["table"].contains(key)) << key;
}

TEST(Inspection, ALabelOfAnyBytesStillGivesValidJsonAndHarmlessText) {
    Inspection inspection = golden_disk();
    inspection.disk.partitions[1].signature->label = "\xff\033[31m";
    inspection.disk.partitions[1].partition.name = "a\nb";
    inspection.disk.name = "/tmp/\033]0;x\007";
    EXPECT_EQ(Json::parse(inspection_json(inspection))["partitions"][1]["name"], "a\nb");
    const auto text = inspection_text(inspection, {80, Charset::kUtf8, false});
    EXPECT_THAT(text, Not(HasSubstr("\033")));
    EXPECT_THAT(text, Not(HasSubstr("\007")));
}

TEST(Inspection, ADiskWithACopyUnderWaySaysSoAndWhatIsKept) {
    Inspection inspection;
    inspection.disk.name = "disk.img";
    inspection.disk.geometry.size_bytes = kGiB;
    inspection.disk.incomplete = layout::IncompleteMark{
        .source = "/dev/golden",
        .started = 1700000000,
        .size_bytes = kGiB,
        .kept = {{"profile (partition 128)", {1019 * kMiB, 1023 * kMiB}, std::nullopt}}};
    const auto text = inspection_text(inspection, {80, Charset::kAscii, false});
    EXPECT_THAT(
        text, HasSubstr("incomplete: a copy of /dev/golden began on 2023-11-14 22:13 UTC and has not ended"));
    EXPECT_THAT(text, HasSubstr("protected: profile (partition 128), 4 MiB"));
    const Json document = Json::parse(inspection_json(inspection));
    EXPECT_EQ(document["incomplete"]["source"], "/dev/golden");
    EXPECT_EQ(document["incomplete"]["protected"][0]["begin"], 1019 * kMiB);
}

TEST(Inspection, AUseOfTheWholeDiskIsToldOnceAndNotOfAPartition) {
    Inspection inspection = golden_disk();
    inspection.uses = {
        {layout::Use::Kind::kHolder, "/dev/sdx", "holds /dev/dm-0 (x): dmsetup remove x", std::nullopt}};
    const auto text = inspection_text(inspection, {80, Charset::kAscii, false});
    EXPECT_THAT(text, HasSubstr("\nin use: /dev/sdx: holds"));
    EXPECT_THAT(text, Not(HasSubstr("    in use")));
}

TEST(Inspection, ADiskWithReadErrorsIsStillDescribedAsFarAsItCanBeRead) {
    test::MemoryDevice disk(64 * kMiB);
    disk.set_interceptor([](std::size_t, const test::Call& call) {
        if (call.extent.end > kMiB) throw_error(Code::kSourceIo, "memory: read failed: Input/output error");
    });
    const Inspection inspection = describe_what_can_be_read(disk);
    EXPECT_EQ(inspection.disk.geometry.size_bytes, 64 * kMiB);
    ASSERT_TRUE(inspection.failure);
    EXPECT_EQ(inspection.failure->code(), Code::kSourceIo);
    EXPECT_THAT(inspection_text(inspection, {80, Charset::kAscii, false}), HasSubstr("64 MiB"));
}

TEST(Inspection, ADamagedTableIsNamedAndSoIsEachProblem) {
    Inspection inspection;
    inspection.disk.name = "disk.img";
    inspection.disk.damaged_table = "bad checksum";
    inspection.disk.table.problems = {"the backup GPT is damaged"};
    inspection.failure = Error(Code::kSourceIo, "disk.img: bad checksum");
    const auto text = inspection_text(inspection, {80, Charset::kAscii, false});
    EXPECT_THAT(text, HasSubstr("damaged partition table"));
    EXPECT_THAT(text, HasSubstr("problem: the backup GPT is damaged"));
    const Json document = Json::parse(inspection_json(inspection));
    EXPECT_EQ(document["result"], "error");
    EXPECT_EQ(document["error"]["code"], "source-io");
    EXPECT_EQ(document["problems"].size(), 2u);
}

TEST(Inspection, AnMbrPartitionHasATypeInWords) {
    layout::Partition linux_partition;
    linux_partition.mbr_type = 0x83;
    EXPECT_EQ(type_in_words(layout::TableKind::kMbr, linux_partition), "Linux");
    linux_partition.mbr_type = 0x99;
    EXPECT_EQ(type_in_words(layout::TableKind::kMbr, linux_partition), "type 0x99");
}

}  // namespace
}  // namespace dupengine::cli
