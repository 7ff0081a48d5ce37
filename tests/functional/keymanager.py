# SPDX-License-Identifier: Apache-2.0
"""A key manager with certificates, where production has Barbican."""

import datetime
import uuid

from castellan.common import exception
from castellan.common.objects import x_509
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography import x509
from cryptography.x509 import oid

_CERTIFICATES = {}


class KeyManager:
    """What castellan makes of ``[key_manager] backend``."""

    def __init__(self, configuration):
        self.configuration = configuration

    def get(self, context, managed_object_id, metadata_only=False):
        try:
            return x_509.X509(_CERTIFICATES[managed_object_id])
        except KeyError:
            raise exception.ManagedObjectNotFoundError(
                uuid=managed_object_id)


class Signer:
    """A person with a key, whose certificate is in the key manager."""

    def __init__(self, name, issuer=None):
        self._key = rsa.generate_private_key(65537, 2048)
        self._name = x509.Name([
            x509.NameAttribute(oid.NameOID.COMMON_NAME, name)])
        self.certificate_id = str(uuid.uuid4())
        _CERTIFICATES[self.certificate_id] = self._certificate(
            issuer or self).public_bytes(serialization.Encoding.DER)

    def _certificate(self, issuer):
        now = datetime.datetime.now(datetime.timezone.utc)
        day = datetime.timedelta(days=1)
        return (x509.CertificateBuilder().subject_name(self._name)
                .issuer_name(issuer._name).public_key(self._key.public_key())
                .serial_number(x509.random_serial_number())
                .not_valid_before(now - day).not_valid_after(now + day)
                .add_extension(x509.BasicConstraints(ca=issuer is self,
                                                     path_length=None), True)
                .add_extension(_key_usage(issuer is self), True)
                .sign(issuer._key, hashes.SHA256()))

    def sign(self, path):
        """The signature of a file's content, as bytes."""
        with open(path, 'rb') as file:
            return self._key.sign(
                file.read(), padding.PSS(
                    mgf=padding.MGF1(hashes.SHA256()),
                    salt_length=padding.PSS.MAX_LENGTH), hashes.SHA256())


def _key_usage(ca):
    return x509.KeyUsage(
        digital_signature=True, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False,
        key_cert_sign=ca, crl_sign=ca, encipher_only=False,
        decipher_only=False)
