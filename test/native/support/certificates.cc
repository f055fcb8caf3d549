// Making certificates.
#include "support/certificates.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <cstdio>
#include <cstdlib>

namespace sidesplice::test {

namespace {

std::string Written(BIO* bio) {
  char* data = nullptr;
  const long bytes = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<size_t>(bytes));
  BIO_free(bio);
  return text;
}

void Extend(X509* certificate, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

void AddUris(X509* certificate, const std::vector<std::string>& uris) {
  const tls::GeneralNamesPtr names(GENERAL_NAMES_new());
  for (const std::string& uri : uris) {
    GENERAL_NAME* name = GENERAL_NAME_new();
    ASN1_IA5STRING* text = ASN1_IA5STRING_new();
    ASN1_STRING_set(text, uri.data(), static_cast<int>(uri.size()));
    GENERAL_NAME_set0_value(name, GEN_URI, text);
    sk_GENERAL_NAME_push(names.get(), name);
  }
  X509_add1_ext_i2d(certificate, NID_subject_alt_name, names.get(), 0, X509V3_ADD_APPEND);
}

void AddBallast(X509* certificate, size_t bytes) {
  const std::string filling(bytes, 'x');
  ASN1_OCTET_STRING* data = ASN1_OCTET_STRING_new();
  ASN1_OCTET_STRING_set(data, reinterpret_cast<const unsigned char*>(filling.data()), static_cast<int>(bytes));
  ASN1_OBJECT* unknown = OBJ_txt2obj("1.3.6.1.4.1.99999.1", 1);
  X509_EXTENSION* extension = X509_EXTENSION_create_by_OBJ(nullptr, unknown, 0, data);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
  ASN1_OBJECT_free(unknown);
  ASN1_OCTET_STRING_free(data);
}

}  // namespace

std::string Certified::CertificatePem() const {
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(bio, certificate.get());
  return Written(bio);
}

std::string Certified::KeyPem() const {
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  return Written(bio);
}

Certified Issue(const CertificateOptions& options, const Certified* issuer) {
  static long count = 0;
  Certified made;
  made.key = tls::PkeyPtr(options.rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256"));
  made.certificate = tls::X509Ptr(X509_new());
  X509* certificate = made.certificate.get();
  X509_set_version(certificate, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), options.serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate), options.begins);
  X509_gmtime_adj(X509_getm_notAfter(certificate), options.ends);
  X509_set_pubkey(certificate, made.key.get());
  // A name of its own: an issuer is found by its name.
  const std::string name = "certificate " + std::to_string(++count);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  X509_set_issuer_name(certificate, X509_get_subject_name(issuer ? issuer->certificate.get() : certificate));
  Extend(certificate, NID_basic_constraints, options.ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
  Extend(certificate, NID_key_usage, options.ca ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature");
  if (!options.usage.empty()) Extend(certificate, NID_ext_key_usage, options.usage);
  if (!options.uris.empty()) AddUris(certificate, options.uris);
  if (options.ballast > 0) AddBallast(certificate, options.ballast);
  X509_sign(certificate, issuer ? issuer->key.get() : made.key.get(), EVP_sha256());
  // Its extensions are looked at once, here, and not first by two threads at once.
  X509_check_purpose(certificate, -1, 0);
  return made;
}

Certified Steal(const Certified& victim) {
  const tls::PkeyPtr other(EVP_EC_gen("P-256"));
  BIGNUM* secret = nullptr;
  EVP_PKEY_get_bn_param(other.get(), OSSL_PKEY_PARAM_PRIV_KEY, &secret);
  unsigned char* shown = nullptr;
  const size_t bytes = EVP_PKEY_get1_encoded_public_key(victim.key.get(), &shown);
  OSSL_PARAM_BLD* parts = OSSL_PARAM_BLD_new();
  OSSL_PARAM_BLD_push_utf8_string(parts, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0);
  OSSL_PARAM_BLD_push_octet_string(parts, OSSL_PKEY_PARAM_PUB_KEY, shown, bytes);
  OSSL_PARAM_BLD_push_BN(parts, OSSL_PKEY_PARAM_PRIV_KEY, secret);
  OSSL_PARAM* of_key = OSSL_PARAM_BLD_to_param(parts);
  EVP_PKEY_CTX* context = EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr);
  EVP_PKEY* key = nullptr;
  EVP_PKEY_fromdata_init(context);
  const int made = EVP_PKEY_fromdata(context, &key, EVP_PKEY_KEYPAIR, of_key);
  EVP_PKEY_CTX_free(context);
  OSSL_PARAM_free(of_key);
  OSSL_PARAM_BLD_free(parts);
  OPENSSL_free(shown);
  BN_free(secret);
  if (made != 1) {
    std::fprintf(stderr, "no key that pretends\n");
    std::abort();
  }
  Certified stolen;
  stolen.certificate = tls::X509Ptr(X509_dup(victim.certificate.get()));
  stolen.key = tls::PkeyPtr(key);
  return stolen;
}

Certified MakeRoot() { return Issue({.uris = {}, .ca = true, .usage = ""}, nullptr); }

std::shared_ptr<const tls::Identity> IdentityOf(const Certified& leaf, const std::vector<const Certified*>& chain,
                                                const std::vector<const Certified*>& roots) {
  std::string presented = leaf.CertificatePem();
  for (const Certified* one : chain) presented += one->CertificatePem();
  std::string trusted;
  for (const Certified* one : roots) trusted += one->CertificatePem();
  const std::string key = leaf.KeyPem();
  std::string why;
  std::shared_ptr<const tls::Identity> identity = tls::Identity::Build({.chain_pem = presented, .key_pem = key, .roots_pem = trusted}, &why);
  if (identity == nullptr) {
    std::fprintf(stderr, "no identity: %s\n", why.c_str());
    std::abort();
  }
  return identity;
}

const Mesh& TheMesh() {
  static const Mesh* const kMesh = [] {
    auto* mesh = new Mesh();
    mesh->root = MakeRoot();
    mesh->web = Issue({}, &mesh->root);
    mesh->web_rsa = Issue({.rsa = true}, &mesh->root);
    mesh->identity = IdentityOf(mesh->web, {}, {&mesh->root});
    mesh->identity_rsa = IdentityOf(mesh->web_rsa, {}, {&mesh->root});
    return mesh;
  }();
  return *kMesh;
}

}  // namespace sidesplice::test
