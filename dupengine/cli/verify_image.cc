// dupengine verify image:STORE[#NAME[@VERSION]]: is an image whole, and may it be believed.

#include <ctime>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "cli/image_view.h"
#include "cli/interrupt.h"
#include "cli/progress_view.h"
#include "cli/terminal.h"
#include "cli/text.h"
#include "engine/check_image.h"
#include "image/tar_names.h"

namespace dupengine::cli {
namespace {

using Json = nlohmann::ordered_json;

struct Checked {
    std::string image;  // "web@7"
    std::string signed_by;
    engine::ImageCheck check;
};

Json checked_json(const Checked& checked) {
    Json damaged = Json::array();
    for (const block::Extent e : checked.check.damaged)
        damaged.push_back({{"begin", e.begin}, {"end", e.end}});
    return {{"image", checked.image},
            {"result", checked.check.sound() ? "sound" : "damaged"},
            {"signed_by", checked.signed_by},
            {"bytes_read", checked.check.bytes_read},
            {"damaged", damaged},
            {"faults", checked.check.reasons}};
}

std::string checked_text(const Checked& checked, Charset charset) {
    std::string text;
    for (const std::string& reason : checked.check.reasons)
        text += printable(reason, charset) + "\n";
    const std::string trust = checked.signed_by.empty()
                                  ? "signature not looked at"
                                  : "signed with " + printable(checked.signed_by, charset);
    if (checked.check.sound())
        return text + fmt::format("sound: {}, {}; read {}\n", checked.image, trust,
                                  format_size(checked.check.bytes_read));
    return text + fmt::format("damaged: {}, {}; {} of {} cannot be given back\n", checked.image, trust,
                              format_size(checked.check.damaged.total_bytes()),
                              format_size(checked.check.bytes_read));
}

std::vector<image::Reference> images_of(const image::Reference& reference, const image::WebOptions& web) {
    if (reference.name || reference.place == image::kPipe) return {reference};
    std::vector<image::Reference> images;
    for (const image::StoredImage& stored :
         image::read_store_index(*image::open_files(reference, web)).images)
        images.push_back({reference.place, stored.name, stored.version});
    if (images.empty()) throw_error(Code::kRefused, "{}: the store is empty", reference.text());
    return images;
}

}  // namespace

int verify_image(const image::Reference& reference, const ImageTrustOptions& trust, const Globals& globals) {
    ImageTrustOptions options = trust;
    options.web.cache_folder.clear();  // what is there is to be seen, not what was there
    const InterruptWatch interrupt;
    std::vector<Checked> all;
    {
        Progress progress;
        const ProgressView view(progress, globals.progress);
        for (const image::Reference& each : images_of(reference, options.web)) {
            const image::OpenImage open = open_trusted_image(each, options);
            open.files->set_stop(interrupt.token());
            const image::StoredImage stored{open.manifest().name, open.manifest().version};
            all.push_back({stored.text(), open.signed_by,
                           engine::check_image(open.disk(), progress, interrupt.token())});
            // What is damaged is told anyhow, and that there is no end behind it is nothing new.
            if (all.back().check.sound()) open.finish();
        }
    }
    bool sound = true;
    Json json = {{"result", ""}, {"images", Json::array()}};
    for (const Checked& checked : all) {
        sound = sound && checked.check.sound();
        json["images"].push_back(checked_json(checked));
        if (!globals.json) fmt::print("{}", checked_text(checked, look_at_terminal(1).style.charset));
    }
    json["result"] = sound ? "sound" : "damaged";
    if (globals.json) fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
    return sound ? 0 : static_cast<int>(Code::kIntegrity);
}

}  // namespace dupengine::cli
