// SPDX-License-Identifier: MIT
// safetensors files and indexes that are wrong in one way each, and the one sentence that each is refused with.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/test.h"
#include "tests/weights/files.h"

static char *folder;

static int setup(UNUSED void **state)
{
	folder = folder_make();
	return 0;
}

static int teardown(UNUSED void **state)
{
	folder_remove(folder);
	return 0;
}

static char *path_of(const char *name)
{
	static char path[400];
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static void refuse(const char *message, const char *format, ...)
{
	struct bytes b = {0};
	va_list args;
	va_start(args, format);
	bytes_pack(&b, format, args);
	va_end(args);
	file_write(path_of("a.safetensors"), &b);
	free(b.data);
	expect_refused(path_of("a.safetensors"), message);
}

#define A(type, shape, offsets) "\"a\":{\"dtype\":\"" type "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
#define B(type, shape, offsets) "\"b\":{\"dtype\":\"" type "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static void sizes(UNUSED void **state)
{
	refuse("is empty", "");
	refuse("7 bytes are too few for a safetensors file (truncated?)", "Z", 7);
	refuse("its header does not begin with '{', so it is no safetensors file", "Q", 0LL);
	refuse("a header of 3 bytes in a file of 10 (truncated?)", "QT", 3LL, "{}");
	refuse("a header of 100000001 bytes (most: 100000000) is none of a safetensors file", "QT", 100000001LL, "{}");
	refuse("a header of 18446744073709551615 bytes (most: 100000000) is none of a safetensors file", "QT", -1LL,
	        "{}");
	refuse("its header does not begin with '{', so it is no safetensors file", "L", " {}");
	refuse("tensor 'a' needs 8 bytes from byte 0 of the data on, which has 7 (truncated?)", "LZ",
	        "{" A("F32", "[2]", "[0,8]") "}", 7);
}

static void json(UNUSED void **state)
{
	refuse("header:1:1: ends too early (truncated?)", "L", "{");
	refuse("header:1:13: ends too early (truncated?)", "L", "{\"a\":[1,2,3,4");
	refuse("header:1:3: goes on after its end", "L", "{}x");
	refuse("header:1:10: the same key twice in one object", "L", "{\"a\":1,\"a\":2}");
	refuse("header:1:3: is not UTF-8", "L", "{\"a\xff\":1}");
	refuse("header:1:3: is not UTF-8", "L", "{\"a\xc0\xaf\":1}");
	refuse("header:1:9: a key with a zero character", "L", "{\"\\u0000\":1}");
	refuse("header:1:25: a number that is too large", "L", "{\"a\":99999999999999999999}");
	refuse("header:1:6: is not JSON", "L", "{\"a\":\x1b}");
	refuse("header: nested too deep (most: 32)", "L",
	        "{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[0]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}");
	struct bytes b = {0}, text = {0};
	for (int i = 0; i < 3000; i++)
		bytes_add(&text, "{\"a\":", 5);
	bytes_add(&text, "", 1);
	b = pack("L", (char *)text.data);
	file_write(path_of("a.safetensors"), &b);
	expect_refused(path_of("a.safetensors"), "header:1:10241: nested too deep");
	free(b.data);
	free(text.data);
}

static void too_many_values(UNUSED void **state)
{
	struct bytes text = {0}, b;
	bytes_add(&text, "{\"a\":[0", 7);
	for (int i = 0; i < VALUES_MOST; i++)
		bytes_add(&text, ",0", 2);
	bytes_add(&text, "]}", 3);
	b = pack("L", (char *)text.data);
	file_write(path_of("a.safetensors"), &b);
	expect_refused(path_of("a.safetensors"), "header: more than 4194304 values");
	free(b.data);
	free(text.data);
}

static void entries(UNUSED void **state)
{
	refuse("entry 0 of the header describes no tensor", "L", "{\"a\":1}");
	refuse("header: a: 'dtype' is missing", "L", "{\"a\":{}}");
	refuse("header: a: 'dtype' is a whole number, should be a text", "L", "{\"a\":{\"dtype\":1}}");
	refuse("header: a: 'shape' should be a list of at most 8 whole numbers", "L", "{\"a\":{\"dtype\":\"F32\"}}");
	refuse("header: a: 'shape' should be a list of at most 8 whole numbers", "L",
	        "{" A("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]") "}");
	refuse("header: a: 'shape' has something in it that is no whole number of at least 0", "LZ",
	        "{" A("F32", "[-1]", "[0,4]") "}", 4);
	refuse("header: a: 'shape' has something in it that is no whole number of at least 0", "LZ",
	        "{" A("F32", "[1.0]", "[0,4]") "}", 4);
	refuse("header: a: 'dtype' is no type that is known here", "LZ", "{" A("F31", "[1]", "[0,4]") "}", 4);
	refuse("header: a: 'dtype' is no type that is known here", "LZ", "{" A("Q8_0", "[32]", "[0,34]") "}", 34);
	refuse("header: a: 'data_offsets' should be a list of at most 2 whole numbers", "LZ",
	        "{" A("F32", "[1]", "[0,4,4]") "}", 4);
	refuse("header: a: 'data_offsets' should be a begin and an end", "LZ", "{" A("F32", "[1]", "[4]") "}", 4);
	refuse("header: a: 'data_offsets' should be a begin and an end", "LZ", "{" A("F32", "[1]", "[4,0]") "}", 4);
	refuse("tensor 'a' of shape (3) in F32 takes 12 bytes, its data_offsets span 16", "LZ",
	        "{" A("F32", "[3]", "[0,16]") "}", 16);
	refuse("header: '__metadata__' should be an object of texts", "L", "{\"__metadata__\":[]}");
	refuse("header: __metadata__: should hold texts only", "L", "{\"__metadata__\":{\"a\":1}}");
}

static void overflows(UNUSED void **state)
{
	refuse("tensor 'a' has more numbers than memory can have", "LZ",
	        "{" A("F32", "[4294967296,4294967296]", "[0,0]") "}", 4);
	refuse("tensor 'a' has more numbers than memory can have", "LZ",
	        "{" A("F32", "[9223372036854775807]", "[0,4]") "}", 4);
	refuse("tensor 'a' needs 1152921504606846968 bytes from byte 0 of the data on, which has 4 (truncated?)", "LZ",
	        "{" A("F64", "[144115188075855871]", "[0,0]") "}", 4);
	refuse("tensor 'a' needs 4 bytes from byte 9223372036854775807 of the data on, which has 4 (truncated?)", "LZ",
	        "{" A("F32", "[1]", "[9223372036854775807,9223372036854775807]") "}", 4);
	// An empty tensor may not lie outside either.
	refuse("tensor 'a' needs 0 bytes from byte 5 of the data on, which has 4 (truncated?)", "LZ",
	        "{" A("F32", "[0]", "[5,5]") "}", 4);
}

static void layout(UNUSED void **state)
{
	refuse("tensors 'a' and 'b' overlap", "LZ", "{" A("F32", "[2]", "[0,8]") "," B("F32", "[2]", "[4,12]") "}", 12);
	refuse("tensors 'a' and 'b' overlap", "LZ", "{" A("F32", "[2]", "[0,8]") "," B("F32", "[2]", "[0,8]") "}", 8);
	refuse("tensors 'a' and 'b' overlap", "LZ", "{" A("F32", "[2]", "[0,8]") "," B("F32", "[0]", "[4,4]") "}", 8);
	refuse("1 bytes before tensor 'b' belong to none", "LZ",
	        "{" A("F32", "[2]", "[0,8]") "," B("F32", "[1]", "[9,13]") "}", 13);
	refuse("4 bytes before tensor 'a' belong to none", "LZ", "{" A("F32", "[1]", "[4,8]") "}", 8);
	refuse("1 bytes after the last tensor belong to none", "LZ", "{" A("F32", "[1]", "[0,4]") "}", 5);
	refuse("4 bytes after the last tensor belong to none", "LZ", "{}", 4);
}

static void names(UNUSED void **state)
{
	char header[1000];
	refuse("tensor 0 has no name", "LZ", "{\"\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4);
	refuse("the name of tensor 0 is not UTF-8 text without control characters", "LZ",
	        "{\"a\\u001b[2J\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4);
	refuse("the name of tensor 0 is not UTF-8 text without control characters", "LZ",
	        "{\"a\\u009b2J\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4);
	snprintf(header, sizeof(header), "{\"%0256d\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 0);
	refuse("the name of tensor 0 has 256 bytes (most: 255)", "LZ", header, 4);
}

static void cut_anywhere(UNUSED void **state)
{
	struct bytes b = pack(
	        "LZ", "{\"__metadata__\":{\"k\":\"v\"}," A("F32", "[2]", "[0,8]") "," B("U8", "[3]", "[8,11]") "}", 11);
	expect_whole_only(path_of("a.safetensors"), &b);
	free(b.data);
}

// --- indexes ---------------------------------------------------------------------------------------------------

static void put_shard(const char *name, const char *header, int n)
{
	struct bytes b = pack("LZ", header, n);
	file_write(path_of(name), &b);
	free(b.data);
}

static void refuse_index(const char *message, const char *text)
{
	struct bytes b = pack("T", text);
	file_write(path_of("model.safetensors.index.json"), &b);
	free(b.data);
	expect_refused(path_of("model.safetensors.index.json"), message);
}

static void indexes(UNUSED void **state)
{
	const char *plain = "the shard of tensor 'a' should be the name of a .safetensors file in this folder";
	put_shard("1.safetensors", "{" A("F32", "[1]", "[0,4]") "}", 4);
	put_shard("2.safetensors", "{" A("F32", "[1]", "[0,4]") "}", 4);
	put_shard("3.safetensors", "{" A("F32", "[1]", "[0,4]") "," B("F32", "[1]", "[4,8]") "}", 8);
	refuse_index("'weight_map' is missing", "{}");
	refuse_index("is JSON, but no object", "[]");
	refuse_index("'weight_map' is a list, should be an object", "{\"weight_map\":[]}");
	refuse_index("weight_map is empty", "{\"weight_map\":{}}");
	refuse_index(plain, "{\"weight_map\":{\"a\":1}}");
	refuse_index(plain, "{\"weight_map\":{\"a\":\"../1.safetensors\"}}");
	refuse_index(plain, "{\"weight_map\":{\"a\":\"/1.safetensors\"}}");
	refuse_index(plain, "{\"weight_map\":{\"a\":\".safetensors\"}}");
	refuse_index(plain, "{\"weight_map\":{\"a\":\"passwd\"}}");
	refuse_index("weight_map has a name in it that is not plain text of at most 255 bytes",
	        "{\"weight_map\":{\"a\\n\":\"1.safetensors\"}}");
	refuse_index("/9.safetensors: cannot be opened: No such file or directory",
	        "{\"weight_map\":{\"a\":\"9.safetensors\"}}");
}

static void indexes_and_shards_that_disagree(UNUSED void **state)
{
	put_shard("1.safetensors", "{" A("F32", "[1]", "[0,4]") "}", 4);
	put_shard("3.safetensors", "{" A("F32", "[1]", "[0,4]") "," B("F32", "[1]", "[4,8]") "}", 8);
	refuse_index("lists tensor 'b' under 1.safetensors, which has it not",
	        "{\"weight_map\":{\"a\":\"1.safetensors\",\"b\":\"1.safetensors\"}}");
	refuse_index("does not list tensor 'a' under 3.safetensors, which has it",
	        "{\"weight_map\":{\"a\":\"1.safetensors\",\"b\":\"3.safetensors\"}}");
	put_shard("3.safetensors", "{" A("F32", "[1]", "[0,4]") "}", 3);
	refuse_index("/3.safetensors: tensor 'a' needs 4 bytes from byte 0 of the data on, which has 3 (truncated?)",
	        "{\"weight_map\":{\"a\":\"3.safetensors\"}}");
	// A shard that is a folder, and one that is a pipe that nobody writes to.
	assert_int_equal(mkdir(path_of("4.safetensors"), 0700), 0);
	refuse_index("/4.safetensors: is not a file", "{\"weight_map\":{\"a\":\"4.safetensors\"}}");
	assert_int_equal(rmdir(path_of("4.safetensors")), 0);
	assert_int_equal(mkfifo(path_of("5.safetensors"), 0600), 0);
	refuse_index("/5.safetensors: is not a file", "{\"weight_map\":{\"a\":\"5.safetensors\"}}");
}

static void files_that_are_something_else(UNUSED void **state)
{
	struct bytes zip = pack("TBBZ", "PK", 3, 4, 20), text = pack("T", "hello, world"), json_text = pack("T", "{}");
	file_write(path_of("pytorch_model.bin"), &zip);
	expect_refused(
	        path_of("pytorch_model.bin"), "pickled PyTorch weights are not read (save the model as safetensors)");
	file_write(path_of("a.txt"), &text);
	expect_refused(path_of("a.txt"), "is neither a safetensors nor a GGUF nor a llama2.c file");
	file_write(path_of("config.json"), &json_text);
	expect_refused(path_of("config.json"), "is no file of weights (name the folder it lies in)");
	expect_refused(path_of("absent"), "cannot be opened: No such file or directory");
	unlink(path_of("pytorch_model.bin"));
	expect_refused(folder,
	        "no weights in this folder (model.safetensors, model.safetensors.index.json, or one .gguf "
	        "or .bin)");
	file_write(path_of("a.gguf"), &text);
	file_write(path_of("b.gguf"), &text);
	expect_refused(folder, "has more than one .gguf file (name the one that is meant)");
	free(zip.data);
	free(text.data);
	free(json_text.data);
}

static void a_broken_config(UNUSED void **state)
{
	struct bytes b = pack("T", "{\"hidden_size\": NaN}");
	put_shard("model.safetensors", "{" A("F32", "[1]", "[0,4]") "}", 4);
	file_write(path_of("config.json"), &b);
	expect_refused(path_of("model.safetensors"), "/config.json:1:19: is not JSON");
	free(b.data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(sizes, setup, teardown),
	        cmocka_unit_test_setup_teardown(json, setup, teardown),
	        cmocka_unit_test_setup_teardown(too_many_values, setup, teardown),
	        cmocka_unit_test_setup_teardown(entries, setup, teardown),
	        cmocka_unit_test_setup_teardown(overflows, setup, teardown),
	        cmocka_unit_test_setup_teardown(layout, setup, teardown),
	        cmocka_unit_test_setup_teardown(names, setup, teardown),
	        cmocka_unit_test_setup_teardown(cut_anywhere, setup, teardown),
	        cmocka_unit_test_setup_teardown(indexes, setup, teardown),
	        cmocka_unit_test_setup_teardown(indexes_and_shards_that_disagree, setup, teardown),
	        cmocka_unit_test_setup_teardown(files_that_are_something_else, setup, teardown),
	        cmocka_unit_test_setup_teardown(a_broken_config, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
